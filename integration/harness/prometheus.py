"""A Prometheus server that scrapes one address every second."""

import json
import re
import urllib.parse
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from .programs import MORTAL, start, stop, tail, tool
from .waiting import eventually

LISTENING = re.compile(r'msg="Listening on" (?:component=web )?address=127\.0\.0\.1:(\d+)')


class Prometheus:
    """Runs from when it is made, and ready, until stop(). All its files are in the folder. The program is of TOOLS."""

    def __init__(self, folder: Path, target: str, path: str = "/metrics", program: str = "PROMETHEUS",
                 rules: Path | None = None):
        folder.mkdir()
        self.log = folder / "prometheus.log"
        config = folder / "prometheus.yml"
        config.write_text(json.dumps({  # which is YAML too
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [{"job_name": "erlmcp", "metrics_path": path,
                                "static_configs": [{"targets": [target]}]}],
        }))
        self.process = start([*MORTAL, tool(program), f"--config.file={config}",
                              f"--storage.tsdb.path={folder / 'data'}", "--web.listen-address=127.0.0.1:0"],
                             self.log)
        try:
            self.port = int(eventually(self._listening, 30, "Prometheus listens").group(1))
            eventually(self._ready, 30, "Prometheus is ready")
        except BaseException:
            self.stop()
            raise

    def _listening(self) -> re.Match | None:
        if self.process.poll() is not None:
            raise RuntimeError(f"Prometheus has ended:\n{tail(self.log)}")
        return LISTENING.search(self.log.read_text())

    def _ready(self) -> bool:
        return self._get("/-/ready")[0] == 200

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def api(self, name: str, **parameters: str) -> Any:
        """The data of an answer of /api/v1."""
        status, body = self._get(f"/api/v1/{name}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(body)
        if answer["status"] != "success":
            raise ValueError(f"{status}: {answer['error']}: {parameters}")
        return answer["data"]

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """The samples that a query gives now, each with its labels; [] while there is none."""
        data = self.api("query", query=promql)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def target(self) -> dict[str, Any]:
        """What Prometheus says of the address that it scrapes: health, lastError, ..."""
        (target,) = eventually(lambda: self.api("targets")["activeTargets"], 10, "Prometheus has its target")
        return target

    def scraped(self, seconds: float = 15) -> dict[str, Any]:
        """Waits until a scrape has succeeded. Fails with the reason why the last one did not."""
        return eventually(lambda: (target := self.target())["health"] == "up" and target, seconds,
                          f"a scrape of {self.target()['scrapeUrl']}: {self.target()['lastError']}")

    def stop(self) -> None:
        stop(self.process)
