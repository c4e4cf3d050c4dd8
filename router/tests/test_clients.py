"""What makes two requests come from one client."""

import pytest
from starlette.requests import Request

from inlay_router.doors.clients import client_id_of


def request_from(host: str | None, key: str = "") -> Request:
    headers = [(b"authorization", key.encode("latin-1"))] if key else []
    return Request({"type": "http", "headers": headers, "client": host and (host, 1)})


def test_an_address_where_no_keys_are_asked_for() -> None:
    assert client_id_of(request_from("10.0.0.1", "Bearer a"), has_keys=False) == "10.0.0.1"
    assert client_id_of(request_from(None), has_keys=False) == ""


def test_a_key_where_keys_are_asked_for() -> None:
    first, second, third = (
        client_id_of(request_from(host, key), has_keys=True)
        for host, key in (("1", "Bearer a"), ("2", "Bearer a"), ("1", "Bearer \xe9"))
    )
    assert first == second != third
    assert "Bearer" not in first
    assert client_id_of(request_from("1"), has_keys=True) == "1"


@pytest.mark.parametrize(
    ("host", "client_id"),
    [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("unix:", "unix:"),
    ],
)
def test_a_machine_with_many_addresses_is_one_client(host: str, client_id: str) -> None:
    assert client_id_of(request_from(host), has_keys=False) == client_id
