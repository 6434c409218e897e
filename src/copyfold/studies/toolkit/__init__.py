"""What several claims measure with: networks, samples, figures; a module's name says what it does."""
