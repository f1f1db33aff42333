"""Which extra brings a package that is not installed: `pip install "paxray-lib[train]"`."""

_PACKAGES = {
    "train": "gdown httpx huggingface_hub lightning_fabric scipy segmentation_models_pytorch "
    "tensorboard timm torch torchvision",
    "ct": "nibabel",
    "dicom": "gdcm highdicom",
    "notebooks": "anywidget ipykernel IPython ipywidgets jupyter_client matplotlib nbclient "
    "nbconvert nbformat papermill traitlets",
}
#: The extra of each package, by the name that it is imported by.
EXTRAS = {name: extra for extra, names in _PACKAGES.items() for name in names.split()}


def missing_extra(error: BaseException) -> str | None:
    """Return in one line what an import lacked and what brings it; None if that is no extra's.

    >>> missing_extra(ModuleNotFoundError(name="torch.nn"))
    'torch is not installed, and this needs it: pip install "paxray-lib[train]"'
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    if package not in EXTRAS:
        return None
    remedy = f'pip install "paxray-lib[{EXTRAS[package]}]"'
    return f"{package} is not installed, and this needs it: {remedy}"
