"""Whether data can be trusted: one look at every image and mask, and what follows from it.

survey         areas, centroids and overlaps of all masks, and files that cannot be read
statistics     tables of what is in a data set
anatomy_rules  how labels lie to each other in every patient, and which names would fit
label_audit    what breaks these rules, mirrored images, duplicates
check          all findings in a data set at once, as `paxray check` lists them
"""
