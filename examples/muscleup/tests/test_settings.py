"""What the app says to a wrong environment."""

import unittest

from app.settings import REQUIRED, Settings

COMPLETE = dict.fromkeys(REQUIRED, "x")


def complaint(environment: dict[str, str]) -> str:
    try:
        Settings.from_environment(environment)
    except SystemExit as end:
        return str(end.code)
    return ""


class SettingsTest(unittest.TestCase):
    def test_every_missing_key_is_named_in_one_line(self) -> None:
        for name in REQUIRED:
            assert complaint({**COMPLETE, name: ""}) == f"muscleup: missing in the environment: {name}"
        assert complaint({}) == f"muscleup: missing in the environment: {', '.join(REQUIRED)}"

    def test_numbers_that_are_none_are_named_with_their_bounds(self) -> None:
        for text in ("0", "65", "-1", "two", "1.5", "²"):
            assert complaint({**COMPLETE, "WORKERS": text}) == (
                f"muscleup: WORKERS must be a whole number from 1 to 64, is {text!r}"
            )

    def test_what_is_not_set_has_a_default(self) -> None:
        settings = Settings.from_environment(COMPLETE)
        assert (settings.workers, settings.environment, settings.release) == (1, "production", "unknown")
        assert settings.allowed_origins == ()

    def test_the_deploys_release_is_preferred_to_the_images_version(self) -> None:
        assert Settings.from_environment({**COMPLETE, "APP_VERSION": "v1"}).release == "v1"
        assert Settings.from_environment({**COMPLETE, "APP_VERSION": "v1", "RELEASE": "v2"}).release == "v2"

    def test_origins_are_separated_by_commas(self) -> None:
        settings = Settings.from_environment({**COMPLETE, "ALLOWED_ORIGINS": "https://muscleup.kz, muscleup://,"})
        assert settings.allowed_origins == ("https://muscleup.kz", "muscleup://")
