"""Tests here see nothing of what the AWS command line was told on this machine."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _no_credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have files of credentials and settings that are not there."""
    folder = tmp_path_factory.mktemp("aws")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # else seconds pass in the search for it
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # else a closed port is tried for seconds
        yield
