//! Makes new inputs out of old ones.

/// Mutates seeds, always the same way for the same number.
#[derive(Debug)]
pub struct Mutator {
    random: u64,
    seeds: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

/// Inputs stay below this: what is slow is looked for in tests of its own.
const LARGEST: usize = 1 << 16;

/// Bytes that mean something to one format or another, and two that are no text.
const SIGNS: &[u8] = b" \n\r\t\0:-,[]{}\"'\\#&*!|>%@?~0\xff\xc3";

impl Mutator {
    /// A mutator over `seeds`, which are shortened where they are too large.
    pub fn new(number: u64, mut seeds: Vec<Vec<u8>>, words: &'static [&'static str]) -> Self {
        seeds.retain(|it| it.len() <= LARGEST);
        if seeds.is_empty() {
            seeds.push(Vec::new());
        }
        Self { random: number, seeds, words }
    }

    /// The next input: a seed with one to eight changes.
    pub fn next_input(&mut self) -> Vec<u8> {
        let n = self.below(self.seeds.len());
        let mut input = self.seeds[n].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(LARGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = at + self.below((input.len() - at).min(64) + 1);
        match self.below(9) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let part = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, part);
            }
            3 if at < input.len() => input[at] ^= 1 << self.below(8),
            4 if at < input.len() => input[at] = SIGNS[self.below(SIGNS.len())],
            5 | 6 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())];
                input.splice(at..at, word.bytes());
            }
            7 => {
                let n = self.below(self.seeds.len());
                let other = &self.seeds[n];
                let from = other.len() / 2;
                let part = other[from..(from + 200).min(other.len())].to_vec();
                input.splice(at..end, part);
            }
            _ => {
                let byte = self.below(256) as u8;
                input.insert(at, byte);
            }
        }
    }

    /// SplitMix64.
    fn below(&mut self, n: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Mutator;

    #[test]
    fn the_same_number_makes_the_same_inputs() {
        let make = || {
            let mut mutator = Mutator::new(7, vec![b"a: 1\n".to_vec(), Vec::new()], &["x"]);
            (0..100).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(make(), make());
    }
}
