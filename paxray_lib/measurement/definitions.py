"""What each measurement is, in words: `measurements.md` beside the table, and the page of results.

The names are those of `geometry`, without their units.
"""

#: What holds for all of them.
GENERAL = (
    "Widths are horizontal and heights vertical, from the first to the last pixel, in pixels of "
    "the image (_px) or in millimetres (_mm), areas in pixels (_px) or square millimetres (_mm2). "
    "All but areas are measured in the large parts of a mask: those that have at least a tenth of "
    "the pixels of the largest one, so that a few stray pixels do not move them. An empty cell: "
    "its anatomy is missing in the masks, the view is not frontal (all but areas and heights), or "
    "the spacing of the pixels is not known (millimetres).",
    "Areas and lengths are those of a projection. On a film whose spacing is that of the detector "
    "they are larger than in the patient, the more so the farther a part is from the detector.",
    "None of this is a finding: for research, not for medical use.",
)

_LUNG = (
    "All pixels of the {} lung's mask. PAXRay's lung is the shadow of the whole lung: with what "
    "lies behind the heart, the mediastinum, the collar bones and below the dome of the diaphragm, "
    "and with its vessels. The lung fields that are seen and drawn on a film are smaller"
)
DEFINITIONS = {
    "ctr": "The cardiothoracic ratio, heart_width / thorax_width (C. S. Danzer, The cardiothoracic "
    "ratio: an index of cardiac enlargement, Am. J. Med. Sci. 157, 513, 1919). In adults, "
    "standing, exposed from behind and breathed in, up to 0.50 counts as normal.",
    "heart_width": "Greatest distance of the heart's right border from the midline, plus that of "
    "its left border: the extent of the heart over all rows.",
    "thorax_width": "Greatest internal diameter of the thorax: in the row in which the outer "
    "borders of the lungs are farthest apart. The inner edges of the ribs are a little farther.",
    "heart_height": "From the heart's first row to its last.",
    "lung_right_height": "From the first row of the patient's right lung to the last; a lung "
    "reaches below the dome of its diaphragm.",
    "lung_left_height": "The same of the patient's left lung.",
    "heart_area": "All pixels of the heart's mask: the shadow of its chambers and muscle, without "
    "the great vessels.",
    "lung_right_area": f"{_LUNG.format('right')}.",
    "lung_left_area": f"{_LUNG.format('left')}.",
    "lung_area": "Both lungs together: lung_right_area plus lung_left_area, where they overlap "
    "counted once. Empty if one of them is missing.",
    "heart_to_spine": "Horizontal distance of the heart's centroid from the centre line of the "
    "spine, a straight line fitted to the middle of the spine in each row. Positive to the "
    "patient's left.",
    "airways_to_spine": "The same for the upper half of the airways, the trachea: rotation, or a "
    "push or pull.",
    "ribs_to_spine": "The same for the middle between the left and right front parts of ribs 2 to "
    "6: rotation. What lies in front moves against the spine, as the collar bones do by which a "
    "film is judged (L. R. Goodman, Felson's principles of chest roentgenology).",
    "ribs_anterior": "Front parts of right ribs with their centroid above the dome of the right "
    "hemidiaphragm: inspiration (Goodman counts the ribs above the diaphragm: in full inspiration "
    "about six in front, nine or ten behind).",
    "ribs_posterior": "The same for the back parts.",
}
ABOUT_COLUMNS = {
    "file": "The image.",
    "output": "Its masks, in this folder.",
    "view": "frontal or lateral, as its user, its header, its name or its masks say; empty if "
    "unknown.",
    "problem": "Why it could not be measured, or not in millimetres, or has flags in report.csv.",
    "spacing_from": "What told the spacing: file, or given (--spacing); empty if nothing did.",
    "row_mm": "Distance of the centres of neighbouring rows in mm.",
    "column_mm": "Distance of the centres of neighbouring columns in mm.",
}


def describe_columns() -> str:
    """Return the text of `measurements.md`: a heading for each measurement, and what it is."""
    about = [f"- `{name}`: {text}" for name, text in {**ABOUT_COLUMNS, **DEFINITIONS}.items()]
    return "\n\n".join(["# What measurements.csv holds", *GENERAL, "\n".join(about)]) + "\n"
