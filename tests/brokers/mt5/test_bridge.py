import argparse

import pytest

from brokers.mt5.bridge import private_address


@pytest.mark.parametrize("text", ["127.0.0.1:18812", "10.1.2.3:1", "192.168.0.9:65535"])
def test_a_bridge_listens_on_loopback_and_private_networks(text: str) -> None:
    host, port = private_address(text)
    assert f"{host}:{port}" == text


@pytest.mark.parametrize("text", ["0.0.0.0:18812", "8.8.8.8:1", "example:1", "127.0.0.1", "127.0.0.1:x"])
def test_a_bridge_listens_nowhere_else(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        private_address(text)
