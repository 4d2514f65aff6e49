"""The runs of a study: `store` keeps them on disk, `selection` says which answer its question, `cells` makes what the analysis takes."""
