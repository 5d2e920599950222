"""Every endpoint of accounts, by subject: see the `api_*` files."""

from collections.abc import Callable, Mapping, Sequence

from hutong.accounts import api_data, api_devices, api_login, api_profile, api_server
from hutong.accounts.api_profile import RemoteProfile
from hutong.accounts.homes import Homes
from hutong.accounts.interactive import Interactive
from hutong.config import Config


def routes(
    homes: Homes,
    config: Config,
    remote_profile: RemoteProfile,
    *,
    room_versions: Sequence[str],
    default_room_version: str,
    unstable_features: Mapping[str, bool],
    interactive: Interactive,
    now: Callable[[], float],
    random: Callable[[int], bytes],
) -> list[tuple[str, object]]:
    """The routes of accounts. `now`: seconds since 1970."""
    return [
        *api_login.routes(homes, interactive, config.registration, random),
        *api_devices.routes(homes, interactive),
        *api_profile.routes(homes, remote_profile),
        *api_data.routes(homes),
        *api_server.routes(config, room_versions, default_room_version, unstable_features, now, random),
    ]
