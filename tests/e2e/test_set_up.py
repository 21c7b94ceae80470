"""What keeps a real set-up from being done: nobody at the package index, and disks that are too small."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import free_ports
from support.setting_up import assert_one_line, set_up


def test_no_network_says_where_to_look_and_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    """Half made, as one that was interrupted or whose Python is gone."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(tmp_path / "gone")
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/simple"
    environ = {"PIP_INDEX_URL": nobody, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    ended = set_up(sys.executable, folder, **environ)
    assert_one_line(ended, "package index", "network", "HTTPS_PROXY")
    assert "Setting up" in ended.out
    assert subprocess.run([folder / "bin" / "python", "-c", "import pip"], check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can make a small disk")
@pytest.mark.parametrize("size", ["64k", "24m"], ids=["for the environment", "for the packages"])
def test_full_disk_is_named(tmp_path: Path, size: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        assert_one_line(set_up(sys.executable, disk / "venv"), "disk is full", "df -h")
    finally:
        subprocess.run(["umount", disk], check=True)
