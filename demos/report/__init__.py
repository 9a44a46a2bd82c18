"""The report card: what every miniature reached, paper by paper, as it is recorded in `assets/report_card.json`."""
