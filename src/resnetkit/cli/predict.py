"""`resnetkit predict`."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resnetkit.cli import options, videos
from resnetkit.cli.progress import ConsoleWatcher, watching
from resnetkit.files import check_place
from resnetkit.runtime import place

if TYPE_CHECKING:
    from resnetkit.api import Beside, Model
    from resnetkit.data.dataset import Dataset
    from resnetkit.inference.bulk import Shard, Summary


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--model", help="A catalog name (default: resnet18), a run or a checkpoint file.")
@click.option("--weights", metavar="FILE", help="A file with the published weights, where there is no network.")
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Classes per picture.")
@click.option(
    "--batch-size", type=click.IntRange(min=1),
    help="Pictures per pass; default: what suits the device, of a stream 1: more wait until so many came.",
)  # fmt: skip
@click.option(
    "--output", metavar="FILE|DIR/",
    help="Write .csv, .json, .jsonl or .parquet in place of stdout, of detectors also .coco.json and labels.yolo/; for "
    "millions, a folder of parts that the same command goes on with: rows/ (CSV), rows.jsonl/, rows.parquet/.",
)  # fmt: skip
@click.option("--shard", metavar="I/N", help="Make only the parts of process I of N; under torchrun: by rank.")
@click.option(
    "--reject", type=float, metavar="SHARE",
    help="Answer 'not sure' where so few right answers are: 0.01, 0.02, 0.05, 0.1 or 0.2 of them are lost.",
)  # fmt: skip
@click.option(
    "--coverage", type=float, metavar="SHARE",
    help="Name as many classes as hold the true one so often: 0.8, 0.9, 0.95 or 0.99.",
)  # fmt: skip
@click.option(
    "--prevalence", type=float, metavar="SHARE",
    help="How frequent the class is that the model looks for: probabilities are then those of such pictures.",
)  # fmt: skip
@options.cost
@click.option(
    "--group-by", metavar="REGEX|COLUMN|TAG",
    help="One answer for each patient, study or series: by PatientID or another tag, or by folder.",
)  # fmt: skip
@options.aggregate
@click.option("--every", metavar="N|SECONDS", help="Of videos: every fifth frame (5), or one in half a second (0.5s).")
@click.option(
    "--smooth", metavar="HOW",
    help="Of videos, a steady state beside each frame's answer: 'median 1s', 'exponential 0.5s', '3 of 5', 'hmm 10s'.",
)  # fmt: skip
@click.option("--track", is_flag=True, help="Of videos: join the objects of frames into tracks.")
@click.option(
    "--events", multiple=True, metavar="FILE",
    help="Of videos, what held from when to when: .csv or .jsonl, as a picture .png or a page .html; several times.",
)  # fmt: skip
@click.option("--min-event", type=float, metavar="SECONDS", help="Leave out events shorter than that.")
@click.option("--rate", type=float, metavar="N", help="SOURCE is a folder of frames of one video, so many a second.")
@click.option("--sort-into", metavar="DIR", help="Copy the pictures into a folder per predicted class.")
@click.option(
    "--draw", metavar="DIR|FILE",
    help="Draw what a detector finds, a PNG each: boxes, masks, names, scores; of a video: .mp4, .webm or .mkv.",
)  # fmt: skip
@click.option("--crops", metavar="DIR", help="Cut what a detector finds out, into a folder per class.")
@options.engine
@options.format_option("table", "json", "jsonl", "csv")
@options.computing
def predict(
    sources: tuple[str, ...], model: str | None, top_k: int, batch_size: int | None, output: str | None,
    shard: str | None, group_by: str | None, aggregate: str | None, every: str | None, smooth: str | None, track: bool,
    events: tuple[str, ...], min_event: float | None, rate: float | None, sort_into: str | None,
    draw: str | None, crops: str | None, form: str, quiet: bool, **given: Any,
) -> int:  # fmt: skip
    """Name what is on pictures: files, folders, archives, lists, globs; or what videos show, frame by frame.

    Pictures that cannot be read are reported and the rest go on; the exit code is then 4 (3 when none could be read).
    """
    from resnetkit import api
    from resnetkit.data.frames import of_files
    from resnetkit.data.sources import open_pictures
    from resnetkit.inference import bulk, sorting

    in_bulk = output is not None and bulk.is_folder(output)
    folders = {"--sort-into": sort_into, "--draw": draw, "--crops": crops}
    _refuse_contradictions(output, form, in_bulk=in_bulk, shard=shard, folders=folders)
    of_videos = videos.Asked(
        rate=rate, every=every, smooth=smooth, track=track, events=events, min_event=min_event, draw=draw,
        aggregate=aggregate,
    )  # fmt: skip
    if videos.are_videos(sources, rate=rate):
        del folders["--draw"]
        videos.refuse_of_pictures(folders | {"--group-by": group_by, "--output DIR/": output if in_bulk else None})
        gives = api.gives(model or "resnet18") if track and given["weights"] is None else None
        wanted = videos.checked(sources, of_videos, output=output, gives=gives)
        with watching(quiet=quiet) as console:
            return videos.predict_videos(
                _opened(model, given, console), wanted, console, top_k=top_k, batch_size=batch_size, output=output,
                form=form,
            )  # fmt: skip
    of_videos.refuse_without_videos(sources)
    _refuse_for_cases(group_by, aggregate, folders | {"--output": output if in_bulk else None})
    part_of_work = bulk.shard_of(shard)
    pictures = open_pictures(*sources, group_by=group_by)
    for option, folder in folders.items():
        if folder is not None:
            sorting.refuse_own_output(pictures, Path(folder), option=option)
    with watching(quiet=quiet) as console:
        opened = _opened(model, given, console)
        if sort_into is not None and opened.gives != "class":
            raise click.UsageError(f"--sort-into: {opened.name} {_NOT_SORTED[opened.gives]}")
        preprocess = opened.header.preprocess
        pictures = of_files(pictures, page=preprocess.page, frames=preprocess.frames)
        if sort_into is not None and preprocess.frames != "one":
            raise click.UsageError(f"--sort-into copies files, and {opened.name} names their frames: leave it out")
        _note_what_is_left_out(pictures, console)
        if group_by is not None:
            return _by_case(
                opened, pictures, console, how=aggregate or "mean", top_k=top_k, batch_size=batch_size, output=output,
                form=form,
            )  # fmt: skip
        making = api.beside(opened.predictor, pictures, crops=crops, drawings=draw)
        if output is not None and in_bulk:
            with console.counting("naming pictures") as show:
                summary = opened.predict_into(
                    output, pictures, top_k=top_k, shard=part_of_work, batch_size=batch_size, progress=show
                )
            return _told(summary, part_of_work, form, console)
        return _one_by_one(
            opened, pictures, console, top_k=top_k, batch_size=batch_size, output=output, form=form,
            sort_into=sort_into, making=making,
        )  # fmt: skip


_NOT_SORTED = {
    "labels": "gives pictures several labels: --output FILE lists them",
    "objects": "finds objects, and a picture with several belongs into no one folder: --crops DIR cuts them out",
}
_MADE_OF_PICTURES = {
    "--sort-into": "sorts what one command names",
    "--draw": "draws what one command finds",
    "--crops": "cuts out what one command finds",
}


def _refuse_contradictions(
    output: str | None, form: str, *, in_bulk: bool, shard: str | None, folders: dict[str, str | None]
) -> None:
    """Raise `UsageError` before anything is read."""
    from resnetkit.inference import bulk
    from resnetkit.inference import output as outputs

    _refuse_drawings_among_crops(folders["--draw"], folders["--crops"])
    if output is not None and in_bulk:
        bulk.format_of(Path(output))
        if form not in ("table", "json"):
            raise click.UsageError(
                f"--format {form} contradicts --output {output}: stdout gets a summary, and the suffix of the folder "
                "sets the format of its parts"
            )
        for option in (option for option, folder in folders.items() if folder is not None):
            raise click.UsageError(f"{option} {_MADE_OF_PICTURES[option]}: give it without --output {output}")
        if not Path(output).is_dir():
            check_place(Path(output), "--output")
        return
    if shard is not None or place().size > 1:
        divided = f"--shard {shard} divides" if shard is not None else "several processes divide"
        raise click.UsageError(f"{divided} parts in a folder: add --output rows/")
    if output is not None:
        wanted = outputs.format_of(Path(output))
        if form not in ("table", wanted):
            raise click.UsageError(f"--format {form} contradicts --output {output}: the suffix sets the format")
        outputs.check_new(Path(output))


def _refuse_for_cases(group_by: str | None, aggregate: str | None, of_pictures: dict[str, str | None]) -> None:
    """Raise `UsageError` for what has no meaning where several pictures get one answer."""
    if group_by is None and aggregate is not None:
        raise click.UsageError(
            "--aggregate says how pictures of a group become one answer: add --group-by (folder, video, a column ...)"
        )
    if group_by is not None:
        for option in (option for option, given in of_pictures.items() if given is not None):
            what = "a folder of parts" if option == "--output" else "pictures"
            raise click.UsageError(f"{option} is for {what}, and --group-by answers for cases: give one of them")


def _refuse_drawings_among_crops(draw: str | None, crops: str | None) -> None:
    if draw is None or crops is None:
        return
    one, other = Path(draw).resolve(), Path(crops).resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise click.UsageError("--draw and --crops: one lies in the other; give each a folder of its own")


def _opened(model: str | None, given: dict[str, Any], console: ConsoleWatcher) -> Model:
    from resnetkit import api

    if model is None and given["weights"] is None:
        with contextlib.suppress(OSError):  # runs/ of somebody else is in nobody's way
            console.note(_which_model(api.runs()))
    if model is None and given["weights"] is not None:
        model = given.pop("weights")  # the file says which network it is
    opened = api.load(model or "resnet18", watcher=console, **given)
    opened.check_classes()
    console.note(opened.computes)
    if opened.runtime.device == "cuda" and place().launched:
        import torch

        torch.cuda.set_device(place().local_rank % torch.cuda.device_count())
    return opened


def _which_model(runs: list[Any]) -> str:
    """Say which model answers where none was asked for, and which might have been meant."""
    answering = [run for run in runs if run.folder.best.is_file()]
    newest = f"; for your newest run: --model {answering[0].path}" if answering else ""
    return f"answering: resnet18 with its ImageNet weights{newest}"


def _note_what_is_left_out(pictures: Dataset, console: ConsoleWatcher) -> None:
    from resnetkit.words import counted, escaped

    if pictures.hidden is not None:
        console.note(pictures.hidden.words)
    if pictures.ignored:
        console.note(f"{counted(len(pictures.ignored), 'file')} left out, being no pictures")
    for note in pictures.notes:
        console.note(escaped(note))
    for folder, why in pictures.unreadable:
        console.note(escaped(f"{folder}: cannot be listed ({why}), and what lies in it is left out"))


def _told(summary: Summary, shard: Shard, form: str, console: ConsoleWatcher) -> int:
    """Write what all parts hold, and return the exit code.

    Under torchrun the process that finds nothing missing speaks for all. There a code other than 0 would make torchrun
    end the processes that are still at work, so unreadable pictures are told by the counts alone.
    """
    from resnetkit.inference import output as outputs

    launched = place().launched
    if launched and summary.missing:
        console.note(f"shard {shard} is done; {summary.where()}")
    elif form == "json":
        print(json.dumps(summary.to_json(), ensure_ascii=False, indent=1))
    else:
        outputs.draw_summary(summary.tally, summary.problems, sys.stdout)
        print(summary.where())
    return 0 if launched else summary.own.exit_code


def _one_by_one(
    opened: Model, pictures: Dataset, console: ConsoleWatcher, *, top_k: int, batch_size: int | None,
    output: str | None, form: str, sort_into: str | None, making: Beside,
) -> int:  # fmt: skip
    """Write the rows to stdout or to one file, make what is asked for beside them, and return the exit code."""
    from resnetkit.inference import output as outputs

    predictions, tally = [], outputs.Tally(opened.gives)
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(_writer(output, form, top_k=top_k, gives=opened.gives, classes=opened.classes))
        show = stack.enter_context(console.counting("naming pictures"))
        answers = opened.predictor.predict_many(
            pictures, top_k=top_k, batch_size=batch_size, threads=opened.runtime.threads
        )
        for prediction, item in zip(answers, pictures.items, strict=True):
            write(prediction)
            making.add(prediction, item)
            tally.add(prediction)
            show(tally.total, len(pictures))
            if sort_into is not None:
                predictions.append(prediction)
    if output is not None or tally.errors:
        console.note(f"{tally}" + (f"; rows in {output}" if output else ""))
    for note in making.notes():
        console.note(note)
    if sort_into is not None:
        _sort(predictions, Path(sort_into), pictures, opened.classes, console)
    return tally.exit_code


def _by_case(
    opened: Model, pictures: Dataset, console: ConsoleWatcher, *, how: str, top_k: int, batch_size: int | None,
    output: str | None, form: str,
) -> int:  # fmt: skip
    """Write one row for each case to stdout or to one file, and return the exit code."""
    from resnetkit.inference import output as outputs
    from resnetkit.inference.cases import predict_cases

    tally = outputs.Tally("cases")
    with contextlib.ExitStack() as stack:
        show = stack.enter_context(console.counting("naming pictures"))
        answers = predict_cases(
            opened.predictor, pictures, how=how, top_k=top_k, batch_size=batch_size, threads=opened.runtime.threads,
            progress=show,
        )  # fmt: skip
        write = stack.enter_context(_writer(output, form, top_k=top_k, gives="cases", classes=opened.classes))
        for prediction in answers:
            write(prediction)
            tally.add(prediction)
    if output is not None or tally.errors or tally.unread:
        console.note(f"{tally}" + (f"; rows in {output}" if output else ""))
    return tally.exit_code


def _writer(output: str | None, form: str, *, top_k: int, gives: Any, classes: Any) -> Any:
    """Return what rows are written by, to stdout or to one file, as a context."""
    from resnetkit.inference import output as outputs

    if output is not None:
        return outputs.to_file(Path(output), top_k=top_k, gives=gives, classes=classes)
    return outputs.to_stream(sys.stdout, format=form, top_k=top_k, gives=gives)  # type: ignore[arg-type]


def _sort(predictions: list[Any], directory: Path, pictures: Any, classes: Any, console: ConsoleWatcher) -> None:
    from resnetkit.inference import sorting

    plan = sorting.sort_into(predictions, directory, pictures, classes=classes)
    console.note(f"copying {plan}")
    with console.counting("copying") as show:
        for done, _ in enumerate(sorting.execute(plan, pictures), start=1):
            show(done, len(plan.copies))
