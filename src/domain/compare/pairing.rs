//! Finds a partner for each: the words of two names, the elements of two sets.
//!
//! "Ana" fits both "Ana Lee" and "Ana Kim", "Ana Lee" only one of them: whoever takes the first that fits would call the same
//! sets different, depending on their order.

/// Pairs each on the left with one of its own on the right; else the first on the left that stays alone.
pub(super) fn pair_up(lefts: usize, rights: usize, fits: impl Fn(usize, usize) -> bool) -> Result<(), usize> {
    let mut partner: Vec<Option<usize>> = vec![None; rights];
    for left in 0..lefts {
        // Breadth first: from the newcomer over partners that could move, to someone who is free.
        let mut asked_by: Vec<Option<usize>> = vec![None; rights];
        let mut open = vec![left];
        let mut at = 0;
        let mut free = None;
        while free.is_none() && at < open.len() {
            let one = open[at];
            at += 1;
            for right in 0..rights {
                if asked_by[right].is_some() || !fits(one, right) {
                    continue;
                }
                asked_by[right] = Some(one);
                if let Some(other) = partner[right] {
                    open.push(other);
                } else {
                    free = Some(right);
                    break;
                }
            }
        }
        let Some(mut right) = free else { return Err(left) };
        // Everyone on the way moves one on.
        while let Some(one) = asked_by[right] {
            let before = partner.iter().position(|known| *known == Some(one));
            partner[right] = Some(one);
            match before {
                Some(before) if one != left => right = before,
                _ => break,
            }
        }
    }
    Ok(())
}
