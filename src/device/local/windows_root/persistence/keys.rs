//! Where the registry starts code, as data: one row a place (MITRE ATT&CK ids as of v16).

/// Whose hive a rule reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// The current control set of SYSTEM.
    System,
    /// SOFTWARE, and its twin for 32-bit programs where the rule is below `Microsoft`.
    Software,
    /// Each user's NTUSER.DAT.
    User,
    /// SOFTWARE and each user's NTUSER.DAT below `Software`.
    Both,
    /// Each user's classes: UsrClass.dat, and `Software\Classes` of NTUSER.DAT.
    UserClasses,
}

/// Values that start code when they stand in a key.
pub struct Rule {
    pub technique: &'static str,
    pub attack_id: &'static str,
    pub of: Of,
    /// Names apart by `\`; `*` is any key.
    pub path: &'static str,
    /// Names of values, `*` for all; "" is the default one.
    pub values: &'static [&'static str],
    /// What Windows itself sets, lower case: said in the note. Compared with the end of the data.
    pub usual: &'static [&'static str],
}

const fn rule(
    technique: &'static str,
    attack_id: &'static str,
    of: Of,
    path: &'static str,
    values: &'static [&'static str],
) -> Rule {
    Rule { technique, attack_id, of, path, values, usual: &[] }
}

const fn usual(rule: Rule, usual: &'static [&'static str]) -> Rule {
    Rule { usual, ..rule }
}

use Of::{Both, Software, System, User, UserClasses};

pub const RULES: &[Rule] = &[
    rule("run-keys", "T1547.001", Both, "Microsoft\\Windows\\CurrentVersion\\Run", &["*"]),
    rule("run-keys", "T1547.001", Both, "Microsoft\\Windows\\CurrentVersion\\RunOnce", &["*"]),
    rule("run-keys", "T1547.001", Both, "Microsoft\\Windows\\CurrentVersion\\RunOnceEx\\*", &["*"]),
    rule("run-keys", "T1547.001", Both, "Microsoft\\Windows\\CurrentVersion\\RunServices", &["*"]),
    rule("run-keys", "T1547.001", Both, "Microsoft\\Windows\\CurrentVersion\\RunServicesOnce", &["*"]),
    rule("run-keys", "T1547.001", Both, "Microsoft\\Windows\\CurrentVersion\\Policies\\Explorer\\Run", &["*"]),
    rule("run-keys", "T1547.001", User, "Software\\Microsoft\\Windows NT\\CurrentVersion\\Windows", &["Load", "Run"]),
    usual(
        rule("winlogon", "T1547.004", Both, "Microsoft\\Windows NT\\CurrentVersion\\Winlogon", &["Shell"]),
        &["explorer.exe"],
    ),
    usual(
        rule("winlogon", "T1547.004", Software, "Microsoft\\Windows NT\\CurrentVersion\\Winlogon", &["Userinit"]),
        &["\\system32\\userinit.exe,", "\\system32\\userinit.exe"],
    ),
    usual(
        rule("winlogon", "T1547.004", Software, "Microsoft\\Windows NT\\CurrentVersion\\Winlogon", &["VmApplet"]),
        &["systempropertiesperformance.exe /pagefile", "rundll32 shell32,control_rundll \"sysdm.cpl\""],
    ),
    rule(
        "winlogon",
        "T1547.004",
        Software,
        "Microsoft\\Windows NT\\CurrentVersion\\Winlogon",
        &["Taskman", "System", "AppSetup", "GinaDLL"],
    ),
    rule("winlogon", "T1547.004", Software, "Microsoft\\Windows NT\\CurrentVersion\\Winlogon\\Notify\\*", &["DllName"]),
    rule("active-setup", "T1547.014", Both, "Microsoft\\Active Setup\\Installed Components\\*", &["StubPath"]),
    rule(
        "image-file-execution-options",
        "T1546.012",
        Software,
        "Microsoft\\Windows NT\\CurrentVersion\\Image File Execution Options\\*",
        &["Debugger", "VerifierDlls"],
    ),
    rule(
        "image-file-execution-options",
        "T1546.012",
        Software,
        "Microsoft\\Windows NT\\CurrentVersion\\SilentProcessExit\\*",
        &["MonitorProcess"],
    ),
    rule("appinit", "T1546.010", Software, "Microsoft\\Windows NT\\CurrentVersion\\Windows", &["AppInit_DLLs"]),
    rule("appcert", "T1546.009", System, "Control\\Session Manager\\AppCertDlls", &["*"]),
    usual(rule("lsa", "T1547.002", System, "Control\\Lsa", &["Authentication Packages"]), &["msv1_0"]),
    usual(
        rule("lsa", "T1547.005", System, "Control\\Lsa", &["Security Packages"]),
        &["\"\"", "kerberos; msv1_0; schannel; wdigest; tspkg; pku2u"],
    ),
    rule("lsa", "T1547.005", System, "Control\\Lsa\\OSConfig", &["Security Packages"]),
    usual(rule("password-filter", "T1556.002", System, "Control\\Lsa", &["Notification Packages"]), &["scecli"]),
    rule("lsa", "T1547.008", System, "Control\\LsaExtensionConfig\\LsaSrv", &["Extensions"]),
    rule("print", "T1547.010", System, "Control\\Print\\Monitors\\*", &["Driver"]),
    rule("print", "T1547.012", System, "Control\\Print\\Environments\\*\\Print Processors\\*", &["Driver"]),
    rule("print", "T1547.012", System, "Control\\Print\\Providers\\*", &["Name"]),
    usual(
        rule("time-providers", "T1547.003", System, "Services\\W32Time\\TimeProviders\\*", &["DllName"]),
        &["\\system32\\w32time.dll", "\\system32\\vmictimeprovider.dll"],
    ),
    rule("network-providers", "T1556.008", System, "Services\\*\\NetworkProvider", &["ProviderPath"]),
    rule("winsock", "T1546", System, "Services\\WinSock2\\Parameters", &["AutodialDLL"]),
    rule(
        "winsock",
        "T1546",
        System,
        "Services\\WinSock2\\Parameters\\NameSpace_Catalog5\\Catalog_Entries\\*",
        &["LibraryPath"],
    ),
    rule("netsh", "T1546.007", Software, "Microsoft\\NetSh", &["*"]),
    usual(
        rule("session-manager", "T1547", System, "Control\\Session Manager", &["BootExecute"]),
        &["autocheck autochk *"],
    ),
    rule(
        "session-manager",
        "T1547",
        System,
        "Control\\Session Manager",
        &["SetupExecute", "Execute", "S0InitialCommand", "PendingFileRenameOperations"],
    ),
    rule("session-manager", "T1547", System, "Control\\Session Manager\\KnownDLLs", &["*"]),
    rule("com-hijack", "T1546.015", UserClasses, "CLSID\\*\\InprocServer32", &[""]),
    rule("com-hijack", "T1546.015", UserClasses, "CLSID\\*\\LocalServer32", &[""]),
    rule("com-hijack", "T1546.015", UserClasses, "CLSID\\*\\TreatAs", &[""]),
    rule("com-hijack", "T1546.015", UserClasses, "CLSID\\*\\ScriptletURL", &[""]),
    rule("file-associations", "T1546.001", UserClasses, "*\\shell\\open\\command", &["", "DelegateExecute"]),
    usual(
        rule("file-associations", "T1546.001", Software, "Classes\\exefile\\shell\\open\\command", &[""]),
        USUAL_OPEN,
    ),
    usual(
        rule("file-associations", "T1546.001", Software, "Classes\\comfile\\shell\\open\\command", &[""]),
        USUAL_OPEN,
    ),
    usual(
        rule("file-associations", "T1546.001", Software, "Classes\\batfile\\shell\\open\\command", &[""]),
        USUAL_OPEN,
    ),
    usual(
        rule("file-associations", "T1546.001", Software, "Classes\\cmdfile\\shell\\open\\command", &[""]),
        USUAL_OPEN,
    ),
    usual(
        rule("file-associations", "T1546.001", Software, "Classes\\txtfile\\shell\\open\\command", &[""]),
        &["\\system32\\notepad.exe %1"],
    ),
    rule("file-associations", "T1546.001", Software, "Classes\\mscfile\\shell\\open\\command", &[""]),
    rule("file-associations", "T1546.001", Software, "Classes\\htafile\\shell\\open\\command", &[""]),
    rule(
        "shell-extensions",
        "T1176",
        Software,
        "Microsoft\\Windows\\CurrentVersion\\Explorer\\ShellIconOverlayIdentifiers\\*",
        &[""],
    ),
    rule(
        "shell-extensions",
        "T1176",
        Software,
        "Microsoft\\Windows\\CurrentVersion\\Explorer\\ShellExecuteHooks",
        &["*"],
    ),
    rule("shell-extensions", "T1176", Both, "Microsoft\\Windows\\CurrentVersion\\ShellServiceObjectDelayLoad", &["*"]),
    rule("shell-extensions", "T1176", Software, "Classes\\Directory\\shellex\\ContextMenuHandlers\\*", &[""]),
    rule("shell-extensions", "T1176", Software, "Classes\\Folder\\shellex\\ContextMenuHandlers\\*", &[""]),
    rule(
        "shell-extensions",
        "T1176",
        Software,
        "Classes\\AllFilesystemObjects\\shellex\\ContextMenuHandlers\\*",
        &[""],
    ),
    rule("logon-scripts", "T1037.001", User, "Environment", &["UserInitMprLogonScript"]),
    rule(
        "logon-scripts",
        "T1037.001",
        Software,
        "Microsoft\\Windows\\CurrentVersion\\Group Policy\\Scripts\\Startup\\*\\*",
        SCRIPT,
    ),
    rule(
        "logon-scripts",
        "T1037.001",
        Software,
        "Microsoft\\Windows\\CurrentVersion\\Group Policy\\Scripts\\Shutdown\\*\\*",
        SCRIPT,
    ),
    rule(
        "logon-scripts",
        "T1037.001",
        Both,
        "Microsoft\\Windows\\CurrentVersion\\Group Policy\\Scripts\\Logon\\*\\*",
        SCRIPT,
    ),
    rule(
        "logon-scripts",
        "T1037.001",
        Both,
        "Microsoft\\Windows\\CurrentVersion\\Group Policy\\Scripts\\Logoff\\*\\*",
        SCRIPT,
    ),
    usual(
        rule("screensaver", "T1546.002", User, "Control Panel\\Desktop", &["SCRNSAVE.EXE"]),
        &["\\system32\\logon.scr", "\\system32\\scrnsave.scr"],
    ),
    rule(
        "accessibility",
        "T1546.008",
        Software,
        "Microsoft\\Windows NT\\CurrentVersion\\Accessibility\\ATs\\*",
        &["StartExe"],
    ),
    rule(
        "application-shims",
        "T1546.011",
        Software,
        "Microsoft\\Windows NT\\CurrentVersion\\AppCompatFlags\\InstalledSDB\\*",
        &["DatabasePath"],
    ),
    rule(
        "application-shims",
        "T1546.011",
        Software,
        "Microsoft\\Windows NT\\CurrentVersion\\AppCompatFlags\\Custom\\*",
        &["*"],
    ),
    rule("office", "T1137", Both, "Microsoft\\Office test\\Special\\Perf", &[""]),
    rule("office", "T1137", User, "Software\\Microsoft\\Office\\*\\Outlook\\WebView\\*", &["URL"]),
    rule("office", "T1137", User, "Software\\Microsoft\\Office\\*\\*\\Options", &["OPEN"]),
    rule("terminal-services", "T1547", System, "Control\\Terminal Server\\WinStations\\RDP-Tcp", &["InitialProgram"]),
    usual(
        rule("terminal-services", "T1547", System, "Control\\Terminal Server\\Wds\\rdpwd", &["StartupPrograms"]),
        &["rdpclip"],
    ),
    rule("terminal-services", "T1547", Both, "Microsoft\\Terminal Server Client\\Default\\AddIns\\*", &["Name"]),
    rule("command-processor", "T1546", Both, "Microsoft\\Command Processor", &["AutoRun"]),
    rule("profilers", "T1574.012", System, "Control\\Session Manager\\Environment", PROFILER),
    rule("profilers", "T1574.012", User, "Environment", PROFILER),
    rule("profilers", "T1574.012", Software, "Microsoft\\.NETFramework", PROFILER),
    usual(
        rule("debuggers", "T1546", Software, "Microsoft\\Windows NT\\CurrentVersion\\AeDebug", &["Debugger"]),
        &["\\system32\\vsjitdebugger.exe\" -p %ld -e %ld"],
    ),
    rule(
        "debuggers",
        "T1546",
        Software,
        "Microsoft\\Windows\\Windows Error Reporting\\Hangs",
        &["Debugger", "ReflectDebugger"],
    ),
    rule("signing-trust", "T1553.003", Software, "Microsoft\\Cryptography\\Providers\\Trust\\*\\*", &["$DLL"]),
    rule("signing-trust", "T1553.003", Software, "Microsoft\\Cryptography\\OID\\*\\*\\*", &["Dll"]),
    rule(
        "credential-providers",
        "T1556.002",
        Software,
        "Microsoft\\Windows\\CurrentVersion\\Authentication\\Credential Providers\\*",
        &[""],
    ),
    rule(
        "credential-providers",
        "T1556.002",
        Software,
        "Microsoft\\Windows\\CurrentVersion\\Authentication\\Credential Provider Filters\\*",
        &[""],
    ),
    rule("stemmers", "T1546", System, "Control\\ContentIndex\\Language\\*", &["StemmerDLLPath"]),
    usual(
        rule(
            "telemetry",
            "T1546",
            Software,
            "Microsoft\\Windows NT\\CurrentVersion\\AppCompatFlags\\TelemetryController\\*",
            &["Command"],
        ),
        &["\\system32\\compattelrunner.exe -m:aeinv.dll -f:updatesoftwareinventoryw invsvc"],
    ),
];

const SCRIPT: &[&str] = &["Script"];
const USUAL_OPEN: &[&str] = &["\"%1\" %*"];
const PROFILER: &[&str] = &[
    "COR_ENABLE_PROFILING",
    "COR_PROFILER",
    "COR_PROFILER_PATH",
    "CORECLR_ENABLE_PROFILING",
    "CORECLR_PROFILER",
    "CORECLR_PROFILER_PATH",
    "COMPlus_Version",
    "AppDomainManagerAsm",
    "AppDomainManagerType",
];

/// Keys whose names alone tell: a browser helper is a CLSID.
pub const NAMED: &[Rule] = &[rule(
    "shell-extensions",
    "T1176",
    Software,
    "Microsoft\\Windows\\CurrentVersion\\Explorer\\Browser Helper Objects\\*",
    &[],
)];
