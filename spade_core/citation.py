"""The paper whose method this is, as reports name it."""

PAPER = (
    "Moakhar, Iofinova, Frantar and Alistarh, SPADE: Sparsity-Guided Debugging for Deep Neural Networks, ICML 2024, "
    "PMLR 235, arXiv 2310.04519."
)
BIBTEX = """@inproceedings{moakhar2024spade,
  title     = {{SPADE}: Sparsity-Guided Debugging for Deep Neural Networks},
  author    = {Moakhar, Arshia Soltani and Iofinova, Eugenia and Frantar, Elias and Alistarh, Dan},
  booktitle = {Proceedings of the 41st International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {235},
  year      = {2024},
  note      = {arXiv:2310.04519}
}"""
