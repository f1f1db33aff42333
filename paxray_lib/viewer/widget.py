"""LabelViewer: any of the labels over any image, drawn in the browser.

It answers while the kernel is busy. In JupyterLab, Notebook 7 and other front ends with ipywidgets
it is an anywidget. Each display also carries a `text/html` form that needs neither a kernel nor a
network: in an HTML export it is the same viewer over the images stored in it. VS Code loads the
JavaScript of third-party widgets after asking (`jupyter.widgetScriptSources`), Colab needs its
custom widget manager, which anywidget enables by itself; neither was tried.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image as PilImage

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.review.decisions import account
from paxray_lib.utils.errors import check_choice, did_you_mean
from paxray_lib.viewer import outputs, sources
from paxray_lib.viewer.assets import label_table
from paxray_lib.viewer.corrections import Corrections
from paxray_lib.viewer.offline_page import offline_page
from paxray_lib.viewer.pictures import STYLE, Pictures
from paxray_lib.viewer.reviewing import Reviewing, blind_source
from paxray_lib.viewer.traits import ViewerTraits
from paxray_lib.viewer.two_models import check_names, from_two_models
from paxray_lib.viz import overlay

_PAGE_BYTES = 380_000  # what a display adds to a page


class LabelViewer(Pictures):
    """Interactive viewer of labels over an image; see the package for its controls.

    Parameters
    ----------
    image : path, PIL image, or (H, W) or (H, W, 3) array
        With a known pixel spacing areas are in square centimeters. For several see `browse`.
    masks, prediction : PackedMasks, path, or (L, H, W) array; at least one of them
    labels : LabelSet of masks that do not carry it; the 166 published ones by default
    probabilities : Probabilities, or a file of them; by default those beside the prediction's file
    names : what to call masks and prediction, where these are of two models
    selected : names, groups and patterns; lungs and heart, if present, by default
    editable : whether masks may be corrected (docs/viewing.md)
    corrections : folder that keeps strokes and saved masks; by default they live with the kernel
    review : folder with what was decided on each image, `review.csv` (docs/reviewing.md)
        The first image shown is the first without a decision.
    who : name of the one who corrects and decides; by default that of the account
    **style : initial values of the traits `mode`, `alpha`, `outline`, `dashed` and `window`

    Attributes
    ----------
    selected : the chosen names; may be set to names, groups, patterns
        An exact name stands for itself.
    mode, alpha, outline, dashed, window : as for `overlay.compare`
        Modes of its own are "beside", masks and prediction side by side, and "probability", the
        heat map of one label (see `viz.heat`).
    heat_label : its name; "" for the first that has probabilities
    thresholds : {name: threshold}, where another than 0.5 is looked at
    position : the image shown, where there are several
    view_filter : {"", "frontal", "lateral"}
    sort_by : column of scores that orders the images, the worst first; "" for their own order
        The worst is the lowest, but of `sources.HIGHEST`.
        `iou_present` and `rules_kept` (see `ranking`) are computed when they are asked for
    visible : [top, left, height, width] that is seen, in pixels; empty for the whole image

    Raises
    ------
    ValueError
        For an unknown name, and if sizes, labels or numbers do not fit.
    """

    def __init__(
        self,
        image: overlay.ImageLike | sources.Source,
        masks: overlay.MasksLike | None = None,
        prediction: overlay.MasksLike | None = None,
        *,
        labels: LabelSet | None = None,
        probabilities: sources.ProbabilitiesLike | None = None,
        names: tuple[str, str] | None = None,
        selected: Iterable[str] | str | None = None,
        editable: bool = False,
        corrections: str | Path | None = None,
        review: str | Path | None = None,
        who: str | None = None,
        **style: Any,
    ):
        for name in style:
            check_choice(name, STYLE, "setting")
        if not isinstance(image, sources.Source):
            image = sources.from_image(image, masks, prediction, labels, probabilities)
        if names is not None:
            image = replace(image, models=names)
        models = image.models
        # the image shown and its neighbours
        self._load: Callable[[int], sources.Scene] = lru_cache(3)(image.load)
        if corrections is not None and not editable:
            raise ValueError("a folder of corrections needs editable=True, too")
        if models and editable:
            raise ValueError("editable: masks of two models are compared, not corrected")
        if models:
            check_names(models)
        self._corrections = Corrections(image, corrections) if editable else None
        self._source = image = self._corrections.source if self._corrections else image
        self._who, self._corrected = who or account(), set[int]()
        reviewer = Reviewing(image, review, self._who) if review else None
        self._reviewing, start = reviewer, reviewer.start if reviewer else 0
        if self._corrections:
            self._load = self._corrections.scene
        first = self._message(start)
        masks = None if "error" in first else self._load(start).masks
        mode = "beside" if review and models else "both" if "prediction" in first else "target"
        super().__init__(
            _labels=label_table(image.labels),
            _editable=editable,
            _folder=str(Path(corrections).absolute()) if corrections else "",
            _items=image.items(),
            _first=first,
            _review=reviewer.state() if reviewer else {},
            position=start,
            names=list(models),
            selected=image.choose(selected, masks),
            **{"mode": mode, **style},
        )
        self.on_msg(self._answer)

    @classmethod
    def browse(
        cls,
        images: PaxrayDataset | str | Path,
        predictions: sources.Predictions | sources.TwoFolders = None,
        *,
        names: tuple[str, str] | None = None,
        scores: pd.DataFrame | None = None,
        labels: LabelSet | None = None,
        selected: Iterable[str] | str | None = None,
        editable: bool = False,
        corrections: str | Path | None = None,
        review: str | Path | None = None,
        blind: str | Path | None = None,
        who: str | None = None,
        **style: Any,
    ) -> "LabelViewer":
        """Return a viewer of many images, each read, and checked, when it is opened.

        Parameters
        ----------
        images : PaxrayDataset, or folder of images
        predictions : folder, or function of a Sample that returns masks (data sets only)
            Mask files bear the names of the images, as `predict` writes them. Or two folders, of
            two models, whose masks are compared; the truth of a data set is not shown then.
        names : what to call the two models, by default their folders
        scores : table of a column `image` and numbers, such as `Evaluation.scores_by_image()`
        labels : LabelSet of `.npy` predictions of a folder; the 166 published ones by default
        blind : key of a blind review, a file to write: images come one by one with truth or
            prediction, in random order, and numbers for names; see `review.blind.unblind`
            Two models are left and right, and not told which; see `review.blind.preferences`.
        selected, editable, corrections, review, who, **style : as for `LabelViewer`
        """
        if isinstance(predictions, tuple | list):
            if len(predictions) != 2:
                raise ValueError(f"{len(predictions)} folders of predictions: two can be compared")
            source = from_two_models(images, (predictions[0], predictions[1]), names, labels)
        elif names is not None:
            raise ValueError(f"names {names}: are those of two models; give two folders of masks")
        elif isinstance(images, PaxrayDataset):
            source = sources.from_dataset(images, predictions)
        elif predictions is None or callable(predictions):
            raise ValueError(f"{images}: to browse a folder, name the folder of its predictions")
        else:
            source = sources.from_folder(images, predictions, labels)
        if scores is not None:
            known = outputs.score_columns(scores, source.names)
            source = replace(source, scores=source.scores | known)
        if blind is not None:
            if editable or review is None or scores is not None:
                raise ValueError("blind: needs review=FOLDER, and neither editable nor scores")
            source = blind_source(source, blind)
        return cls(
            source,
            selected=selected,
            editable=editable,
            corrections=corrections,
            review=review,
            who=who,
            **style,
        )

    def __repr__(self) -> str:
        names, labels = self._source.names, self._source.labels
        images = f"{len(names)} images" if len(names) > 1 else repr(names[0])
        return f"LabelViewer({images}, {len(labels)} labels, {len(self.selected)} selected)"

    def go_to(self, image: int | str) -> None:
        """Show the image of a position or name."""
        self.position = self._position_of(image)

    def _position_of(self, image: int | str) -> int:
        names = self._source.names
        if isinstance(image, str) and image not in names:
            raise ValueError(f"no image {image!r} to show{did_you_mean(image, names)}")
        return names.index(image) if isinstance(image, str) else image

    def corrected(self, image: int | str | None = None) -> PackedMasks:
        """Return the masks of an image, the one shown by default, with all corrections."""
        scene = self._load(self.position if image is None else self._position_of(image))
        if scene.target is None:
            raise ValueError(f"{scene.name}: no masks to correct; give editable=True")
        return scene.target

    def strokes(self, image: int | str | None = None) -> list[dict[str, Any]]:
        """Return the records of an image's corrections, in order (see `masks.strokes`)."""
        position = self.position if image is None else self._position_of(image)
        return list(self._corrections.records(position)) if self._corrections else []

    def save(self, image: int | str | None = None, who: str | None = None) -> Path:
        """Save the corrected masks of an image, the one shown by default; return their path.

        They go to the folder `corrections`, which is a data set (`review.corrections`). `who` is
        by default that of the viewer. ValueError or OSError if they cannot be saved, also where
        someone else saved the image meanwhile.
        """
        position = self.position if image is None else self._position_of(image)
        if self._corrections is None:
            raise ValueError("nothing to save: give editable=True and corrections=FOLDER")
        path = self._corrections.save(position, who or self._who)
        self._send_scene(position)
        return path

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict] | None:
        if self._first["index"] != self.position:
            self._first = self._message(self.position)
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        names = self._source.names
        shown = ", ".join(self.selected[:12]) or "no label selected"
        caption = f"{names[self.position]}: {shown}"
        try:
            figure = self.figure()
        except (ValueError, OSError) as error:
            figure, caption = PilImage.new("RGB", (8, 8)), str(error)
        traits = ViewerTraits.class_own_traits(sync=True).keys() - {"_first", "_folder", "_review"}
        order = ((self.position + k) % len(names) for k in range(len(names)))
        page = offline_page(
            traits={name: getattr(self, name) for name in sorted(traits)},
            messages=(self._message(index, self._page_heat()) for index in order),
            smaller=self._smaller,
            figure=figure,
            caption=caption,
            max_bytes=_PAGE_BYTES,
        )
        return {**data, "text/html": page}, metadata

    def _page_heat(self) -> list[str]:
        """Return the labels whose probabilities a page without a kernel has."""
        return [self.heat_label, *self.selected]

    def _smaller(self, part: float) -> dict[str, Any]:
        """Return the message of the image shown, with height and width times `part`."""
        scene = self._load(self.position)
        message = scene.reduced(part).to_message(self._page_heat(), self._broken(self.position))
        height, width = scene.pixels.shape[:2]
        size = "{height} x {width}".format_map(message)
        note = f"This page stores the image reduced to {size} pixels; it has {height} x {width}. "
        return {"index": self.position, **message, "note": note}
