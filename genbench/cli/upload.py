"""`genbench upload`: a folder into a store; and --upload of the commands that measure."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from genbench.config import Given, public_store
from genbench.errors import ConfigError, GenbenchError
from genbench.options import Output

FAILED = 5
EVERY_S = 5.0
EXAMPLES = """\
Examples:
  genbench upload artifacts/tiny-chat-c8-20261121T165322Z s3://results/team-a
  genbench upload artifacts/tiny-chat-sweep-20261121T170000Z gs://results/team-a
  genbench profile --url http://localhost:8000 --concurrency 8 --upload s3://results/team-a
"""


class UploadCommand(click.Command):
    """Adds the examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


@click.command(cls=UploadCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("url", metavar="URL")
@click.option("-q", "--quiet", is_flag=True, help="no progress line")
def command(folder: Path, url: str, quiet: bool) -> int:
    """Put the folder of a run, a sweep, a capacity search, an A/B or a comparison to URL/<its name>/.

    URL is s3://bucket/prefix, or what else fsspec writes to: gs://, abfs://, file:///folder, ... What the run is goes
    with every object as its metadata. Another run of the same name is never overwritten. See docs/upload.md.
    """
    from genbench.studies import upload, upload_metadata

    upload_metadata.kind(folder)
    for note in upload.check(url):
        sys.stderr.write(f"note: {note}\n")
    click.echo(_put(folder, url, quiet=quiet))
    return 0


def ready(given: Given, resumed: str | None = None) -> None:
    """Where there is an --upload: make sure before any load that it will work. Raises ConfigError.

    A name that the user gave, and the folder of what is resumed, must not be there already as another run's.
    """
    output = given.config.output
    if output.upload is None:
        return
    from genbench.resolve import resolve
    from genbench.studies import upload

    name = output.name
    if name is not None and "SIMULATED" not in name and not resolve(given)[0].target.url:
        name = f"SIMULATED-{name}"
    folder = Path(resumed) if resumed is not None else Path(output.artifact_dir) / name if name is not None else None
    try:
        notes = upload.check_apart(output.upload, folder)
    except ConfigError as error:
        raise ConfigError(f"--upload {error}") from error
    for note in notes:
        sys.stderr.write(f"note: --upload {note}\n")


def after(folder: Path, output: Output, code: int) -> int:
    """Upload what was measured where that was asked for; the exit code: `FAILED` where it failed and all else is fine.

    Whatever goes wrong here, the folder is on disk.
    """
    if output.upload is None:
        return code
    try:
        said = _put(folder, output.upload, quiet=output.quiet)
    except KeyboardInterrupt:
        again = shlex.join(["genbench", "upload", str(folder), public_store(output.upload)])
        sys.stderr.write(f"genbench: the upload was stopped; everything is in {folder}, upload it with: {again}\n")
        return 130
    except GenbenchError as error:
        sys.stderr.write(f"genbench: --upload {error}\n")
        return code or FAILED
    if not output.quiet:
        sys.stderr.write(f"{said}\n")
    return code


def _put(folder: Path, url: str, *, quiet: bool) -> str:
    """Upload with progress on stderr; the sentence that says what was done."""
    from genbench.studies import upload

    with contextlib.ExitStack() as shown:
        done = upload.upload(folder, url, (lambda *_: None) if quiet else _progress(shown))
    for note in done.notes:
        sys.stderr.write(f"note: {note}\n")
    return f"uploaded: {done.place} ({done.files:,} file{'s' if done.files > 1 else ''}, {_size(done.size_bytes)})"


def _progress(shown: contextlib.ExitStack) -> Callable[[int, int, int, int], None]:
    """On a terminal one line that is taken away at the end, else one every few seconds."""
    terminal = sys.stderr.isatty()
    next_s = time.monotonic() + EVERY_S

    def tell(files: int, of_files: int, size: int, of_size: int) -> None:
        nonlocal next_s
        if not terminal and time.monotonic() < next_s:
            return
        next_s = time.monotonic() + EVERY_S
        line = f"uploading: {files} of {of_files} files, {_size(size)} of {_size(of_size)}"
        with contextlib.suppress(OSError):  # nobody reads any more: the upload goes on
            sys.stderr.write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
            sys.stderr.flush()

    if terminal:
        shown.callback(sys.stderr.write, "\r\x1b[K")
    return tell


def _size(size_bytes: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}" if unit != "B" else f"{size_bytes:.0f} B"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} GB"
