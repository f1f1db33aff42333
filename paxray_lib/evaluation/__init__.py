"""A split counted and scored.

count: go through a data set with a model; result: `Evaluation`, its files and tables; tables: every
score by label, group and view; mapping: what labels of other data are in a model's; evaluate: a
model, or the best constant guess; the paper's figures; external: other data, as profiles name it;
compare: two models; ablation: what a prediction's options gain.
"""
