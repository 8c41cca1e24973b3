//! The measurements as an SVG.

use std::fmt::Write as _;

use super::{Case, Row, theory, usual_cut};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 40.0;
const PANEL: f64 = 320.0;
const DEEP: f64 = 260.0;
const ROUNDS_MAX: f64 = 25.0;

/// The colours of 0, 10 and 30 % loss.
const COLOURS: [(u64, &str); 3] = [(0, "#1b7837"), (10, "#d95f0e"), (30, "#7b3294")];

/// Two panels: without a cut, and after one. Rounds up, nodes (on a logarithmic scale)
/// along.
pub fn plot(rows: &[Row]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (panel, is_after_cut) in [(0.0, false), (1.0, true)] {
        let left = LEFT + panel * (PANEL + 50.0);
        axes(&mut svg, left, is_after_cut);
        bounds(&mut svg, left, is_after_cut);
        for (lost, colour) in COLOURS {
            for fanout in [0, 3] {
                let of = |row: &&Row| {
                    row.case.lost_percent == lost
                        && row.case.fanout == fanout
                        && row.case.cut_minutes
                            == if is_after_cut {
                                usual_cut(row.case.nodes)
                            } else {
                                0
                            }
                };
                let points: Vec<_> = rows
                    .iter()
                    .filter(of)
                    .map(|row| place(left, row.case.nodes, row.rounds.0))
                    .collect();
                let dashes = if fanout == 0 {
                    ""
                } else {
                    " stroke-dasharray=\"5 3\""
                };
                curve(&mut svg, &points, colour, dashes);
                for (x, y) in points {
                    put(
                        &mut svg,
                        format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"),
                    );
                }
            }
        }
    }
    legend(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

fn put(svg: &mut String, item: std::fmt::Arguments<'_>) {
    writeln!(svg, "{item}").expect("a String takes everything");
}

fn place(left: f64, nodes: usize, rounds: f64) -> (f64, f64) {
    let along = ((nodes as f64).log10() - 1.0) / 2.0;
    (left + along * PANEL, TOP + DEEP * (1.0 - rounds / ROUNDS_MAX))
}

fn curve(svg: &mut String, points: &[(f64, f64)], colour: &str, dashes: &str) {
    let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let points = points.join(" ");
    put(
        svg,
        format_args!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{dashes}/>"
        ),
    );
}

fn axes(svg: &mut String, left: f64, is_after_cut: bool) {
    let title = if is_after_cut {
        "Rounds from the end of a cut (docs/gossip.md)"
    } else {
        "Rounds until a revocation is everywhere, by nodes"
    };
    put(
        svg,
        format_args!("<text x=\"{left}\" y=\"24\" font-size=\"13\">{title}</text>"),
    );
    for rounds in [0, 5, 10, 15, 20, 25] {
        let (_, y) = place(left, 10, f64::from(rounds));
        let right = left + PANEL;
        put(
            svg,
            format_args!("<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"),
        );
        put(
            svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{rounds}</text>",
                left - 6.0,
                y + 4.0
            ),
        );
    }
    for nodes in [10, 100, 1_000] {
        let (x, y) = place(left, nodes, 0.0);
        put(
            svg,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{nodes}</text>",
                y + 18.0
            ),
        );
    }
}

/// What has to be kept, and the logarithm.
fn bounds(svg: &mut String, left: f64, is_after_cut: bool) {
    let sizes = [10, 100, 1_000];
    let bound = sizes.map(|nodes| {
        let case = Case {
            nodes,
            lost_percent: 0,
            cut_minutes: u64::from(is_after_cut),
            fanout: 0,
        };
        place(left, nodes, case.bound())
    });
    curve(svg, &bound, "#b2182b", "");
    if !is_after_cut {
        let least = sizes.map(|nodes| place(left, nodes, theory(nodes)));
        curve(svg, &least, "#999999", " stroke-dasharray=\"1 3\"");
    }
}

fn legend(svg: &mut String) {
    let y = HEIGHT - 14.0;
    let mut x = LEFT;
    for (lost, colour) in COLOURS {
        put(
            svg,
            format_args!("<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{lost} % lost</text>"),
        );
        x += 66.0;
    }
    put(
        svg,
        format_args!(
            "<text x=\"{x}\" y=\"{y}\" fill=\"#444\">solid: rounds alone; dashed: news told at once to three. \
             <tspan fill=\"#b2182b\">bound</tspan>, dotted: log2(n). Medians.</text>"
        ),
    );
}
