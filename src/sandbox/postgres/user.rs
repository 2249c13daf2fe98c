//! Who the server runs as.

use std::fs;

use super::ClusterError;

/// Accounts that a machine with PostgreSQL has, the better one first.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Who the server runs as when that is not ourselves: PostgreSQL refuses root. User and group.
pub(super) fn other_than_root() -> Result<Option<(u32, u32)>, ClusterError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd")?;
    first_of(&accounts).map(Some).ok_or(ClusterError::NoUser)
}

fn first_of(accounts: &str) -> Option<(u32, u32)> {
    ACCOUNTS.into_iter().find_map(|wanted| {
        accounts.lines().find_map(|line| {
            // name:password:user:group:…
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (user, group) = (fields.nth(1)?, fields.next()?);
            (name == wanted).then_some(())?;
            Some((user.parse().ok()?, group.parse().ok()?))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_account_is_preferred() {
        let root = "root:x:0:0:root:/root:/bin/sh\n";
        let nobody = "nobody:x:65534:65533:nobody:/:/bin/false\n";
        let postgres = "postgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/sh\n";
        assert_eq!(first_of(&format!("{root}{nobody}{postgres}")), Some((101, 104)));
        assert_eq!(first_of(&format!("{root}{nobody}")), Some((65_534, 65_533)));
        assert_eq!(first_of(root), None);
    }
}
