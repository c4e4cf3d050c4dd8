"""Who sent a request, as far as turns in the queue are concerned."""

import hashlib

from starlette.requests import Request

_NUM_HEX_DIGITS = 16


def client_id_of(request: Request, *, has_keys: bool) -> str:
    """One name for all requests of one client: its key where the server asks for keys, else its
    address. Not the key itself, as names may be shown.

    A key that nobody checks would be a new client in every request, so it says nothing then.
    """
    if has_keys and (key := request.headers.get("authorization")):
        return "key " + hashlib.sha256(key.encode("latin-1")).hexdigest()[:_NUM_HEX_DIGITS]
    return "" if request.client is None else request.client.host
