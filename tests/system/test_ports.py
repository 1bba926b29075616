import pytest

from system.ports import PortTaken, free_port, is_free, listen_on


def test_a_port_is_taken_while_somebody_listens() -> None:
    port = free_port()
    assert is_free(port)
    with listen_on(port):
        assert not is_free(port)
        assert free_port(port) != port
        with pytest.raises(PortTaken):
            listen_on(port)
    assert free_port(port) == port


@pytest.mark.parametrize("odd", [-1, 0, 65_536, 10**9])
def test_what_is_no_port_gives_another_one(odd: int) -> None:
    assert not is_free(odd)
    assert is_free(free_port(odd))
