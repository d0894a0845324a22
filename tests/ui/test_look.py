"""What the stylesheets and templates promise, checked on their text."""

import re
from pathlib import Path

import lucide
import pytest

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "ui/static/ui"
TEMPLATES = sorted(
    path for room in ("ui", "dashboard", "portal") for path in (ROOT / room / "templates").rglob("*.html")
)
ICON = re.compile(r"""{%\s*icon\s+"([a-z0-9-]+)"|{%\s*nothing\s+"([a-z0-9-]+)"|Nav\([^)]*?icon="([a-z0-9-]+)\"""")
FORBIDDEN = re.compile(r"""\sstyle=|<style|\son[a-z]+=|hx-on|javascript:|hx-vals=["']js:|<script(?![^>]*\ssrc=)""")
TOKEN = re.compile(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
TEXT_RATIO, GRAPHIC_RATIO = 4.5, 3.0


def tokens(theme: int) -> dict[str, str]:
    return {name: colours[theme] for name, *colours in TOKEN.findall((STATIC / "base.css").read_text())} | {
        "on-accent": "#ffffff"
    }


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
class TestContrast:
    @pytest.mark.parametrize("text", ["text", "text-2", "text-3", "accent", "bad"])
    @pytest.mark.parametrize("ground", ["bg", "surface", "raised", "sunken", "head", "side", "hover"])
    def test_of_text_is_readable_on_every_ground(self, theme: int, text: str, ground: str) -> None:
        colours = tokens(theme)
        assert contrast(colours[text], colours[ground]) >= TEXT_RATIO

    @pytest.mark.parametrize("state", ["ok", "warn", "bad", "info", "accent"])
    def test_of_a_state_is_readable_on_its_soft_ground(self, theme: int, state: str) -> None:
        colours = tokens(theme)
        assert contrast(colours[state], colours[f"{state}-soft"]) >= TEXT_RATIO

    @pytest.mark.parametrize("ground", ["accent-solid", "accent-solid-hover", "bad-solid"])
    def test_of_solid_buttons_is_readable(self, theme: int, ground: str) -> None:
        colours = tokens(theme)
        assert contrast(colours["on-accent"], colours[ground]) >= TEXT_RATIO

    @pytest.mark.parametrize("series", ["s1", "s2", "s3", "s4", "s5", "s-ghost"])
    def test_of_chart_series_is_visible_on_a_card(self, theme: int, series: str) -> None:
        colours = tokens(theme)
        assert contrast(colours[series], colours["surface"]) >= GRAPHIC_RATIO


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
class TestTemplates:
    def test_obey_the_content_security_policy(self, path: Path) -> None:
        assert not FORBIDDEN.findall(path.read_text())

    def test_name_only_icons_that_exist(self, path: Path) -> None:
        for names in ICON.findall(path.read_text()):
            lucide._load_icon("".join(names))


class TestStylesheets:
    def test_use_only_tokens_that_are_defined(self) -> None:
        sheets = "".join(path.read_text() for path in STATIC.glob("*.css"))
        defined = set(re.findall(r"(--[a-z0-9-]+):", sheets))
        assert set(re.findall(r"var\((--[a-z0-9-]+)", sheets)) <= defined

    def test_name_only_files_that_exist(self) -> None:
        for path in STATIC.glob("*.css"):
            for name in re.findall(r'url\("([^"]+)"\)', path.read_text()):
                assert (STATIC / name).is_file(), name

    def test_keep_the_licence_beside_each_font(self) -> None:
        for name in ("Inter-OFL.txt", "JetBrainsMono-OFL.txt"):
            assert "SIL OPEN FONT LICENSE" in (STATIC / "fonts" / name).read_text().upper()
