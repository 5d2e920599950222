"""Errors as the Client-Server API words them: a status, an `errcode` and a message that names the field.

Source: Client-Server API v1.19, "Standard error response".
"""

from typing import Any


class MatrixError(Exception):
    """What a client is told. `extra` goes into the body beside `errcode` and `error`."""

    status = 400
    errcode = "M_UNKNOWN"

    def __init__(self, message: str, *, status: int | None = None, errcode: str | None = None, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or self.status
        self.errcode = errcode or self.errcode
        self.extra = extra

    def body(self) -> dict[str, Any]:
        return {"errcode": self.errcode, "error": self.message, **self.extra}


class NotJson(MatrixError):
    """The body is no JSON at all."""

    errcode = "M_NOT_JSON"


class BadJson(MatrixError):
    """JSON, but not what this endpoint takes; the message names the field."""

    errcode = "M_BAD_JSON"


class BadParam(MatrixError):
    """A field has a value that it cannot have."""

    errcode = "M_INVALID_PARAM"

    def __init__(self, field: str, why: str, **extra: Any) -> None:
        super().__init__(f"{field}: {why}", **extra)


class MissingParam(MatrixError):
    """A field that must be there is not."""

    errcode = "M_MISSING_PARAM"

    def __init__(self, field: str, why: str = "is missing") -> None:
        super().__init__(f"{field}: {why}")


class TooLarge(MatrixError):
    """More than the limit that the message names."""

    status = 413
    errcode = "M_TOO_LARGE"


class MissingToken(MatrixError):
    status = 401
    errcode = "M_MISSING_TOKEN"


class UnknownToken(MatrixError):
    """The access token is none of ours, or no longer; `soft_logout` when a refresh token still helps."""

    status = 401
    errcode = "M_UNKNOWN_TOKEN"

    def __init__(self, message: str = "access token: unknown or no longer valid", *, soft_logout: bool = False) -> None:
        extra: dict[str, Any] = {"soft_logout": True} if soft_logout else {}
        super().__init__(message, **extra)


class Forbidden(MatrixError):
    status = 403
    errcode = "M_FORBIDDEN"


class NotFound(MatrixError):
    status = 404
    errcode = "M_NOT_FOUND"


class Unrecognized(MatrixError):
    """No such endpoint (404), or not with this method (405)."""

    status = 404
    errcode = "M_UNRECOGNIZED"


class Conflict(MatrixError):
    """It is taken, or already so."""

    status = 409
    errcode = "M_UNKNOWN"


class GivenUp(MatrixError):
    """The event was settled as not sent before it arrived: it never comes to be. Between cells only."""

    status = 409
    errcode = "HUTONG_GIVEN_UP"


class LimitExceeded(MatrixError):
    """Too much at once; `retry_after_ms` also becomes the `Retry-After` header."""

    status = 429
    errcode = "M_LIMIT_EXCEEDED"

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.retry_after_ms = retry_after_ms


class RegionAway(MatrixError):
    """A region that is needed for this cannot be reached now. Nothing changed; the same request may be sent again."""

    status = 503
    errcode = "M_UNKNOWN"

    def __init__(self, region: str, *, retry_after_ms: int = 2_000) -> None:
        extra: dict[str, Any] = {"hutong.region": region, "retry_after_ms": retry_after_ms}
        super().__init__(f"region {region} cannot be reached at the moment; try again", **extra)
        self.region = region
        self.retry_after_ms = retry_after_ms


class Unavailable(MatrixError):
    """The node cannot do this now (its database is away, it is overloaded or stopping). Nothing changed; try again."""

    status = 503
    errcode = "M_UNKNOWN"

    def __init__(self, message: str, *, retry_after_ms: int = 2_000) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.retry_after_ms = retry_after_ms
