//! Lines over a logarithmic axis as SVG. Knows nothing about what they show.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (50.0, 170.0, 40.0, 40.0);
/// Told apart by people who see colours differently (P. Tol's bright scheme), on white and black.
const COLOURS: [&str; 6] = [
    "#4477aa", "#228833", "#ee6677", "#aa3377", "#999933", "#66ccee",
];

/// A name and its points.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// Adds a point to the line of that name, which is begun if it is not there.
    pub fn add(lines: &mut Vec<Self>, name: &'static str, x: f64, y: f64) {
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push((x, y)),
            None => lines.push(Self {
                name,
                points: vec![(x, y)],
            }),
        }
    }
}

/// A picture of `lines`, from 1 upwards, with x to the base of ten.
pub fn svg(title: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let (low, high) = all().fold((f64::MAX, 1.0_f64), |(low, high), (x, _)| {
        (low.min(x.log10()), high.max(x.log10()))
    });
    let top = all().fold(1.2_f64, |top, (_, y)| top.max(*y));
    let step = if top > 2.0 { 0.5 } else { 0.1 };
    let bottom = all().fold(1.0_f64, |bottom, (_, y)| bottom.min(*y));
    let bottom = (bottom / step).floor() * step;
    let (left, right, above, below) = MARGINS;
    let x_of = |x: f64| left + (x.log10() - low) / (high - low) * (WIDTH - left - right);
    let y_of = |y: f64| HEIGHT - below - (y - bottom) / (top - bottom) * (HEIGHT - above - below);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"22\" font-size=\"14\">{title}</text>\n"
    );
    let end = WIDTH - right;
    let mut grid = bottom;
    while grid <= top + 1e-9 {
        let y = y_of(grid);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {y:.1}H{end}\" stroke=\"#ddd\"/>\
             <text x=\"44\" y=\"{:.1}\" text-anchor=\"end\">{grid:.1}</text>",
            y + 4.0
        );
        grid += step;
    }
    for x in [3.0, 10.0, 30.0, 100.0, 300.0, 1000.0] {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{x}</text>",
            x_of(x),
            HEIGHT - below + 18.0
        );
    }
    for (i, (line, colour)) in lines.iter().zip(COLOURS).enumerate() {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), y_of(*y)))
            .collect();
        let label = above + 10.0 + 20.0 * i as f64;
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <path d=\"M{:.0} {label}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{:.0}\" y=\"{}\">{}</text>",
            points.join(" "),
            end + 10.0,
            end + 34.0,
            label + 4.0,
            line.name
        );
    }
    out + "</svg>\n"
}
