"""A split counted and scored.

count: go through a data set with a model; result: `Evaluation`, its files and tables; tables: every
score by label, group and view; evaluate: a model, or the best constant guess; compare: two models;
ablation: what a prediction's options gain; published: the paper's figures.
"""
