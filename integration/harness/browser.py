"""Chromium without a window."""

import os
import shlex
import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from .programs import MORTAL, stop, tool

#: Works as root and without a GPU, keeps to itself, and reaches nothing but this machine.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--window-size=1280,900",
)


def mortal_chromium(script: Path) -> Path:
    """A program that runs Chromium, and ends it when its chromedriver is gone."""
    script.write_text(f'#!/bin/sh\nexec {shlex.join([*MORTAL, tool("CHROMIUM")])} "$@"\n')
    script.chmod(0o755)
    return script


class MortalService(Service):
    """A chromedriver that ends when the tests are killed."""

    def __init__(self, log: Path, home: Path):
        super().__init__(executable_path=shutil.which(MORTAL[0]), log_output=str(log),
                         service_args=["--log-level=WARNING"],
                         env=os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"),
                                           "XDG_CACHE_HOME": str(home / "cache")},
                         popen_kw={"start_new_session": True})

    def command_line_args(self) -> list[str]:
        return [*MORTAL[1:], tool("CHROMEDRIVER"), *super().command_line_args()]


class Browser(webdriver.Chrome):
    """A session of selenium with a profile of its own, all in the folder."""

    def __init__(self, folder: Path):
        folder.mkdir()
        options = webdriver.ChromeOptions()
        options.binary_location = str(mortal_chromium(folder / "chromium"))
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        super().__init__(options=options, service=MortalService(folder / "chromedriver.log", folder))
        self.set_page_load_timeout(30)
        self.set_script_timeout(30)

    def console(self) -> list[str]:
        """What has been written on the console since the last call, errors of loading included."""
        return [f"{entry['level']} {entry['message']}" for entry in self.get_log("browser")]

    def quit(self) -> None:
        try:
            super().quit()
        finally:
            stop(self.service.process)
