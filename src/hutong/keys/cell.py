"""The keys of one cell's people, put together."""

from hutong.accounts.service import Accounts
from hutong.accounts.sessions import Sessions
from hutong.cells.cell import Cell
from hutong.cells.key_messages import ClaimKeys, KeysChanged, KeysOf
from hutong.cells.tokens import Tokens
from hutong.keys.api import CellKeys
from hutong.keys.changes import Changes
from hutong.keys.cross_signing import CrossSigning
from hutong.keys.service import Keys
from hutong.keys.store import KeyStore


def cell_keys(cell: Cell, accounts: Accounts, sessions: Sessions, tokens: Tokens) -> CellKeys:
    """What `cell` does for keys: it answers other cells, and lets keys go with their device."""
    store = KeyStore(cell.pool)
    keys = Keys(cell, store, accounts, sessions)
    changes = Changes(cell, store, accounts, tokens)
    sessions.leaving.append(keys.forget)
    cell.links.serve(cell.number, KeysOf, keys.answer_query)
    cell.links.serve(cell.number, ClaimKeys, keys.answer_claim)
    cell.links.serve(cell.number, KeysChanged, changes.answer)
    return CellKeys(keys, CrossSigning(keys, store), changes)
