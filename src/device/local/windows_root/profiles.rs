//! Whose hives there are: the folders of users, with the SIDs that SOFTWARE gives them.

use super::hives::HiveFile;
use super::{WindowsRoot, below, names};
use crate::device::local::registry::{Hive, same};
use crate::error::Result;
use crate::model::{DevicePath, Job};

/// Profiles that are looked at.
const PROFILES: usize = 2_000;
const PROFILE_LIST: [&str; 4] = ["Microsoft", "Windows NT", "CurrentVersion", "ProfileList"];

#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its folder's name.
    pub name: String,
    pub folder: DevicePath,
    pub sid: Option<String>,
}

impl Profile {
    /// Whether it is whom somebody names: by SID or by folder.
    pub fn is(&self, user: &str) -> bool {
        same(&self.name, user) || self.sid.as_deref().is_some_and(|sid| same(sid, user))
    }

    /// What it is called below `HKU`.
    pub fn key(&self) -> &str {
        self.sid.as_deref().unwrap_or(&self.name)
    }

    pub fn ntuser(&self, root: &WindowsRoot<'_>) -> Option<DevicePath> {
        below(root.view, &self.folder, &["NTUSER.DAT"])
    }

    pub fn usrclass(&self, root: &WindowsRoot<'_>) -> Option<DevicePath> {
        let vista = ["AppData", "Local", "Microsoft", "Windows", "UsrClass.dat"];
        let before = ["Local Settings", "Application Data", "Microsoft", "Windows", "UsrClass.dat"];
        below(root.view, &self.folder, &vista).or_else(|| below(root.view, &self.folder, &before))
    }
}

impl WindowsRoot<'_> {
    /// Everyone whose folder holds an NTUSER.DAT, the services' accounts too.
    pub fn profiles(&self, job: &Job) -> Result<Vec<Profile>> {
        let mut profiles: Vec<Profile> = Vec::new();
        for place in ["Users", "Documents and Settings"] {
            let Some(place) = self.find(&[place]) else { continue };
            for name in names(self.view, &place) {
                job.check()?;
                let folder = place.join(&DevicePath::new(name));
                self.add(folder, None, &mut profiles);
            }
        }
        for (name, sid) in [("LocalService", "S-1-5-19"), ("NetworkService", "S-1-5-20")] {
            if let Some(folder) = self.find_system(&["ServiceProfiles", name]) {
                self.add(folder, Some(sid), &mut profiles);
            }
        }
        self.add_sids(&mut profiles, job)?;
        Ok(profiles)
    }

    /// The folders of users and of the services' accounts, with or without a hive.
    pub fn homes(&self) -> Vec<DevicePath> {
        let mut homes = Vec::new();
        let places =
            [self.find(&["Users"]), self.find(&["Documents and Settings"]), self.find_system(&["ServiceProfiles"])];
        for place in places.into_iter().flatten() {
            homes.extend(names(self.view, &place).into_iter().map(|name| place.join(&DevicePath::new(name))));
        }
        homes.extend(self.find_system(&["System32", "config", "systemprofile"]));
        homes.truncate(PROFILES);
        homes
    }

    fn add(&self, folder: DevicePath, sid: Option<&str>, profiles: &mut Vec<Profile>) {
        let profile = Profile {
            name: String::from_utf8_lossy(folder.name().as_bytes()).into_owned(),
            folder,
            sid: sid.map(str::to_owned),
        };
        // `Documents and Settings` may be a link to `Users`, `All Users` one to `ProgramData`.
        let there = profile.ntuser(self).and_then(|path| self.view.identity(&path));
        let known = |other: &Profile| other.ntuser(self).and_then(|path| self.view.identity(&path)) == there;
        if there.is_some() && profiles.len() < PROFILES && !profiles.iter().any(known) {
            profiles.push(profile);
        }
    }

    /// SIDs by the folder that ProfileList names. A broken SOFTWARE leaves them out and says so.
    fn add_sids(&self, profiles: &mut [Profile], job: &Job) -> Result<()> {
        let Some(software) = self.find_system(&["System32", "config", "SOFTWARE"]) else { return Ok(()) };
        let hive = match HiveFile::open(self.view, &software, job) {
            Ok(hive) => hive,
            Err(e) => {
                job.warn(format!("SIDs of the users are not known: {}", e.message));
                return Ok(());
            }
        };
        for (sid, path) in listed_profiles(hive.hive(), job)? {
            let folder = path.trim_end_matches('\\').rsplit('\\').next().unwrap_or_default();
            if let Some(profile) = profiles.iter_mut().find(|p| p.sid.is_none() && same(&p.name, folder)) {
                profile.sid = Some(sid);
            }
        }
        Ok(())
    }
}

/// SIDs and the folders of their profiles, as Windows would name them.
fn listed_profiles(software: &Hive, job: &Job) -> Result<Vec<(String, String)>> {
    let Some(list) = software.find(software.root(), PROFILE_LIST, job)? else { return Ok(Vec::new()) };
    let mut listed = Vec::new();
    for key in software.subkeys(&list, job)?.take(PROFILES) {
        if let Some(path) = software.value(&key, "ProfileImagePath") {
            listed.push((key.name.to_string(), software.data(&path, 4096).text(path.kind)));
        }
    }
    Ok(listed)
}
