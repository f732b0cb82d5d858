"""Builds the site: `python -m tools.website`."""

import shutil
import subprocess
import sys

from tests.paths import ROOT
from tools.website.links import broken_links
from tools.website.prepare import prepare


def main() -> int:
    """Prepare the pages in build/website, let Zensical build them there, and move the result to site/.

    Zensical writes only below the folder of its configuration. Its exit code is ours; it is 1 too where a link of the
    built site leads nowhere.
    """
    config = prepare(ROOT / "build" / "website")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--config-file", str(config)]
    exit_code = subprocess.run(command, check=False).returncode
    if exit_code == 0:
        broken = broken_links(config.parent / "site")
        sys.stderr.writelines(f"broken link: {link}\n" for link in broken)
        exit_code = int(bool(broken))
        shutil.rmtree(ROOT / "site", ignore_errors=True)
        shutil.move(config.parent / "site", ROOT / "site")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
