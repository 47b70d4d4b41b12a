//! Which rows a tree sees.

use serde::{Deserialize, Serialize};

use super::random::Random;

/// How a tree's rows are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bootstrap {
    /// As many rows as there are, with replacement (Breiman, "Random forests", 2001).
    #[default]
    Rows,
    /// As many groups as there are, with replacement, and from each drawn one as many of its
    /// rows as it has, with replacement. Only a row of a group not drawn is out of bag, so that
    /// out-of-bag estimates are of captures never seen.
    Groups,
    /// Every row once; nothing is out of bag.
    None,
}

/// Draws rows, given the groups they are in.
pub(super) struct Urn {
    how: Bootstrap,
    rows: usize,
    /// Row numbers, group after group; empty unless groups are drawn.
    members: Vec<u32>,
    /// Where each group's members begin, and where the last one's end.
    starts: Vec<usize>,
}

/// The rows of one tree.
pub(super) struct Drawn {
    /// How often each row was drawn.
    pub(super) times: Vec<u32>,
    /// The rows that the tree can be judged by.
    pub(super) out_of_bag: Vec<u32>,
}

impl Urn {
    /// `groups` has the group of every row.
    pub(super) fn new(how: Bootstrap, groups: &[u32]) -> Self {
        let (mut members, mut starts) = (Vec::new(), Vec::new());
        if how == Bootstrap::Groups {
            members = (0..groups.len() as u32).collect();
            members.sort_by_key(|&row| groups[row as usize]);
            let mut end = 0;
            starts.push(end);
            let same = |a: &u32, b: &u32| groups[*a as usize] == groups[*b as usize];
            for group in members.chunk_by(same) {
                end += group.len();
                starts.push(end);
            }
        }
        Self {
            how,
            rows: groups.len(),
            members,
            starts,
        }
    }

    pub(super) fn draw(&self, random: &mut Random) -> Drawn {
        let mut times = vec![0; self.rows];
        let mut out_of_bag = Vec::new();
        match self.how {
            Bootstrap::None => times.fill(1),
            Bootstrap::Rows => {
                for _ in 0..self.rows {
                    times[random.below(self.rows)] += 1;
                }
                out_of_bag.extend((0..self.rows as u32).filter(|&row| times[row as usize] == 0));
            }
            Bootstrap::Groups => {
                let groups = self.starts.len() - 1;
                let mut drawn = vec![false; groups];
                for _ in 0..groups {
                    let group = random.below(groups);
                    drawn[group] = true;
                    let members = self.group(group);
                    for _ in members {
                        times[members[random.below(members.len())] as usize] += 1;
                    }
                }
                let left = (0..groups).filter(|&group| !drawn[group]);
                out_of_bag.extend(left.flat_map(|group| self.group(group)));
            }
        }
        Drawn { times, out_of_bag }
    }

    fn group(&self, group: usize) -> &[u32] {
        &self.members[self.starts[group]..self.starts[group + 1]]
    }
}
