from __future__ import annotations

from flows.terminal import printable


def test_what_a_terminal_would_obey_and_bytes_that_are_no_text_are_not_shown() -> None:
    assert printable("a\x1b[31m\nb\udcff\u202ec") == "a?[31m?b??c"
    assert printable("Bienenstöcke 蜂 [bold]") == "Bienenstöcke 蜂 [bold]"
