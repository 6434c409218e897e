"""The page: the chosen run above, and a tab for each thing that one does."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import html
from typing import Any

import gradio as gr

import copyfold
from copyfold.studio.context import CHEAP, Studio
from copyfold.studio.tabs import find, findings, look, make, photos, repair, train

TABS = {
    "Photos": photos,
    "Train": train,
    "Look": look,
    "Make": make,
    "Repair": repair,
    "Find": find,
    "Findings": findings,
}
"""In the order of the page."""

SWITCH = "() => document.body.classList.toggle('dark')"
SWEPT = (600, 7200)
"""Seconds from one look for old temporary files to the next, and the age at which they go."""


def page(studio: Studio) -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(
        title="copyfold studio", analytics_enabled=False, delete_cache=SWEPT, fill_width=True
    ) as blocks:
        studio.photos = gr.State("")
        with gr.Row(elem_classes="bar"):
            where = f"{html.escape(copyfold.__version__)}, in {html.escape(studio.root.shown)}"
            gr.HTML(f'<div class="top"><h1>copyfold studio</h1><span class="facts">{where}</span></div>')
            dark = gr.Button("Light or dark", size="md", scale=0, min_width=160)
        with gr.Row(elem_classes="bar"):
            studio.run = gr.Dropdown(
                studio.runs(),
                value=None,
                label="Run",
                info="What Train, Look, Make, Repair and Find work with.",
                scale=5,
            )
            again = gr.Button("Look for runs", size="md", scale=0, min_width=160)
        for label, module in TABS.items():
            with gr.Tab(label):
                module.tab(studio)

        def runs(chosen: str | None) -> Any:
            known = studio.runs()
            return gr.update(choices=known, value=chosen if chosen in known else next(iter(known), None))

        def left(request: gr.Request) -> None:
            studio.room.forget(request.session_hash)

        again.click(runs, studio.run, studio.run, show_progress="hidden", **CHEAP)
        blocks.load(runs, studio.run, studio.run, show_progress="hidden", **CHEAP)
        dark.click(None, js=SWITCH, api_visibility="private")
        blocks.unload(left)
    return blocks


def theme() -> gr.themes.Base:
    """The look of copyfold's reports: plain, blue, with the fonts of the system and none from elsewhere."""
    blue = gr.themes.Color(
        "#eef6fb", "#d9ebf6", "#b5d8ee", "#83bfe2", "#4aa1d2", "#0072b2", "#00659d", "#005786", "#00496f",
        "#003b59", "#002c44", name="copyfold",
    )  # fmt: skip
    made = gr.themes.Base(
        primary_hue=blue,
        secondary_hue=blue,
        neutral_hue="slate",
        radius_size="sm",
        spacing_size="sm",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return made.set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#14191d",
        body_text_color="#1a1a1a",
        block_info_text_color="#555555",
        block_info_text_color_dark="#a9b3ba",
        block_label_text_color="#333333",
        block_title_text_color="#333333",
        button_large_text_weight="500",
        button_medium_text_weight="500",
        background_fill_secondary_dark="#14191d",
        block_background_fill_dark="#1a2228",
        input_background_fill_dark="#26323b",
        border_color_primary_dark="#36424b",
        button_secondary_background_fill_dark="#33404a",
        checkbox_label_background_fill_dark="#26323b",
        button_primary_background_fill="#0072b2",
        button_primary_background_fill_hover="#00659d",
        button_primary_text_color="#ffffff",
        button_primary_background_fill_dark="#0072b2",
        button_primary_background_fill_hover_dark="#00659d",
    )
