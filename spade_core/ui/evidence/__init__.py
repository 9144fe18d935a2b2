"""What the page of the evidence shows: tables, and the pictures behind them."""
