"""The texts of the package in Chinese: a table for each part, {English text: Chinese text}."""
