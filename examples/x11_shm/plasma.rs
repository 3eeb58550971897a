//! The picture: three waves over each other, in colours that go round, and the frame's number in the corner.

use std::f64::consts::TAU;

/// Three by five dots for each digit, a row after the other.
const DIGITS: [u16; 10] = [
    0b111_101_101_101_111,
    0b010_110_010_010_111,
    0b111_001_111_100_111,
    0b111_001_111_001_111,
    0b101_101_111_001_001,
    0b111_100_111_001_111,
    0b111_100_111_101_111,
    0b111_001_010_010_010,
    0b111_101_111_101_111,
    0b111_101_111_001_111,
];
/// A dot's width and height in pixels, and the number's distance from the corner.
const DOT: usize = 4;
const MARGIN: usize = 12;

pub(crate) struct Plasma {
    wave: [u32; 512],
    colours: [u32; 256],
}

impl Plasma {
    pub(crate) fn new() -> Self {
        let level = |turns: f64| (turns * TAU).cos() * 0.5 + 0.5;
        let channel = |index: usize, shift: f64| (level(index as f64 / 256.0 + shift) * 255.0) as u32;
        Self {
            wave: std::array::from_fn(|index| (level(index as f64 / 512.0) * 255.0) as u32),
            colours: std::array::from_fn(|index| {
                channel(index, 0.0) << 16 | channel(index, 0.12) << 8 | channel(index, 0.3)
            }),
        }
    }

    /// Works out one row of a frame; pixels are 0xRRGGBB.
    pub(crate) fn row(&self, frame: u64, y: usize, row: &mut [u32]) {
        let now = (frame & 511) as usize; // it all goes round once in 512 frames
        let wave = |at: usize| self.wave[at & 511];
        let across = wave(2 * y + 3 * now);
        for (x, pixel) in row.iter_mut().enumerate() {
            let height = across + wave(x + 2 * now) + wave(x + y + 512 - now);
            *pixel = self.colours[(height as usize / 2 + now) & 255];
        }
        number(frame, y, MARGIN + DOT / 2, 0x000000, row); // its shadow
        number(frame, y, MARGIN, 0xffffff, row);
    }
}

/// Writes a row of the number over the picture, so far from its left and upper edge.
fn number(frame: u64, y: usize, margin: usize, colour: u32, row: &mut [u32]) {
    let Some(line) = y.checked_sub(margin).map(|y| y / DOT).filter(|&line| line < 5) else { return };
    for (place, digit) in frame.to_string().bytes().enumerate() {
        let dots = DIGITS[usize::from(digit - b'0')] >> (12 - 3 * line);
        for column in (0..3).filter(|column| dots >> (2 - column) & 1 == 1) {
            let start = margin + (4 * place + column) * DOT;
            row.iter_mut().skip(start).take(DOT).for_each(|pixel| *pixel = colour);
        }
    }
}
