"""What the pages share: frame, pickers, plots. The only part of the library that imports streamlit."""
