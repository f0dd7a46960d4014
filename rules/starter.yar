// Starter rules of live-response. Few and plain: each names behaviour that has no business in a file, or a trait that a
// person should look at (verdict = "suspicious"). Put rules of your own into rules/ of the program's home.
import "elf"

rule eicar_test_file {
  meta:
    description = "the EICAR test file, harmless"
  strings:
    $a = { 58 35 4f 21 50 25 40 41 50 5b 34 5c 50 5a 58 35 34 28 50 5e 29 37 43 43 29 37 7d 24 45 49 43 41 52 }
  condition:
    $a at 0 and filesize < 256
}

rule webshell_php_runs_request {
  meta:
    description = "PHP that runs what a request sends"
  strings:
    $php = "<?"
    $run = /\b(eval|assert|system|exec|shell_exec|passthru|popen|proc_open|pcntl_exec)\s{0,8}\(\s{0,8}(@|stripslashes\(|base64_decode\(|urldecode\(|str_rot13\(|trim\()?\s{0,4}\$_(GET|POST|REQUEST|COOKIE|SERVER\[.HTTP_)/ nocase
    $tick = /`\s{0,4}\$_(GET|POST|REQUEST|COOKIE)\[/
    $create = /create_function\s{0,8}\([^)]{0,40}\$_(GET|POST|REQUEST|COOKIE)/ nocase
    $variable = /\$_(GET|POST|REQUEST|COOKIE)\[[^\]]{1,40}\]\s{0,4}\(\s{0,4}\$_(GET|POST|REQUEST|COOKIE)/
  condition:
    filesize < 2MB and $php and any of ($run, $tick, $create, $variable)
}

rule webshell_php_packed {
  meta:
    description = "PHP that decodes itself and runs it"
  strings:
    $php = "<?"
    $a = /\b(eval|assert)\s{0,8}\(\s{0,8}@?(gzinflate|gzuncompress|gzdecode|str_rot13|base64_decode|strrev|hex2bin|convert_uudecode)\s{0,8}\(/ nocase
    $b = /preg_replace\s{0,8}\(\s{0,8}['"]\/[^'"]{0,80}\/[imsx]{0,4}e[imsx]{0,4}['"]/
  condition:
    filesize < 2MB and $php and ($a or $b)
}

rule webshell_jsp_runs_request {
  meta:
    description = "JSP that runs what a request sends"
  strings:
    $page = "<%"
    $exec = /getRuntime\(\)\s{0,4}\.\s{0,4}exec\s{0,4}\(\s{0,4}([a-zA-Z]{1,20}\.)?request\.getParameter/
    $builder = /new\s{1,4}ProcessBuilder\s{0,4}\([^)]{0,80}request\.getParameter/
    $load = /defineClass\s{0,4}\([^)]{0,120}request\.get(Parameter|Reader|InputStream)/
    $parameter = "request.getParameter("
    $runtime = "Runtime.getRuntime().exec("
  condition:
    filesize < 1MB and $page and ($exec or $builder or $load or ($parameter and $runtime))
}

rule webshell_aspx_runs_request {
  meta:
    description = "ASP that runs what a request sends"
  strings:
    $page = "<%"
    $eval = /\beval\s{0,4}\(?\s{0,4}Request(\.Item|\.Form|\.QueryString)?\s{0,4}[\[(]/ nocase
    $execute = /\bexecute(global)?\s{0,4}\(?\s{0,4}request\s{0,4}\(/ nocase
  condition:
    filesize < 1MB and $page and ($eval or $execute)
}

rule reverse_shell_sh {
  meta:
    description = "a shell joined to a network connection"
  strings:
    $tcp = /\b(ba|da|z|k)?sh\s{1,4}-i\s{0,4}([0-9&]?>&?|<)[^\n]{0,12}\/dev\/(tcp|udp)\/[0-9a-zA-Z$]/
    $exec = /exec\s{1,4}[0-9]{1,3}<>\s{0,4}\/dev\/(tcp|udp)\/[0-9a-zA-Z$][^\n]{0,80}[;\n][^\n]{0,80}(\bsh\b|<&[0-9])/
    $fifo = /mkfifo\s{1,4}(-m\s{0,4}[0-9]{1,4}\s{1,4})?[^\s;]{1,60}\s{0,4};[^\n]{0,80}\|\s{0,4}(\/bin\/)?(ba)?sh\s{1,4}-i[^\n]{0,40}\|\s{0,4}(nc|ncat|netcat|telnet|openssl)\b/
    $nc = /\b(nc|ncat|netcat)\b[^\n|;]{0,60}\s-(e|c)\s{1,4}(\/bin\/)?(ba)?sh\b/
    $socat = /socat\b[^\n]{0,80}exec:[^\n]{0,40}(ba)?sh[^\n]{0,60}(pty|stderr|setsid)[^\n]{0,60}tcp[46]?(-connect)?:/ nocase
  condition:
    filesize < 1MB and uint32(0) != 0x464c457f and any of them
}

rule reverse_shell_python {
  meta:
    description = "Python that joins a shell to a network connection"
  strings:
    $connect = /\.connect\s{0,4}\(\s{0,4}\(/
    $dup = /os\.dup2\s{0,4}\([^)]{0,40}\.fileno\(\)[^)]{0,12},\s{0,4}[012]\s{0,4}\)/
    $shell = /(pty\.spawn|subprocess\.(call|Popen|run)|os\.(system|execl[pe]?|execv))\s{0,4}\([^)]{0,30}(\/bin\/)?(ba|da)?sh\b/
  condition:
    filesize < 1MB and all of them
}

rule reverse_shell_perl_ruby {
  meta:
    description = "Perl or Ruby that joins a shell to a network connection"
  strings:
    $perl = /open\s{0,4}\(\s{0,4}STDIN\s{0,4},\s{0,4}["']>&[A-Za-z]{1,20}["']\s{0,4}\)/
    $perl_exec = /exec\s{0,4}[({]?\s{0,4}["'](\/bin\/)?(ba)?sh\s{1,4}-i/
    $ruby = /TCPSocket\.(new|open)\s{0,4}\([^)]{0,60}\)\.to_i[^\n]{0,60}exec\s{0,4}[( ]?["']?\/bin\/(ba)?sh/
  condition:
    filesize < 1MB and (($perl and $perl_exec) or $ruby)
}

rule miner_configuration {
  meta:
    description = "the settings of a coin miner"
  strings:
    $pool = /stratum\+(tcp|ssl|tls)12?:\/\/[a-z0-9.\-]{4,}/ nocase
    $j1 = "\"donate-level\""
    $j2 = "\"randomx\""
    $j3 = "\"rig-id\""
    $j4 = "\"nicehash\""
    $j5 = "\"cpu-affinity\""
    $a1 = "--donate-level"
    $a2 = "--coin=monero"
    $a3 = "--algo=rx/0"
  condition:
    filesize < 16MB and (3 of ($j*) or ($pool and any of ($j*, $a*)) or 2 of ($a*))
}

rule rootkit_preload {
  meta:
    description = "a library that hides files and processes from those who load it"
  strings:
    $preload = "/etc/ld.so.preload"
    $dlsym = "dlsym"
    $readdir = "readdir64"
    $hide1 = "hide" nocase
    $hide2 = "magic_gid" nocase
    $proc = "/proc/%s/"
    $self = "/proc/self/fd/%d"
    $net = "/proc/net/tcp"
    $accept = "pam_authenticate"
  condition:
    filesize < 8MB and elf.type == elf.ET_DYN and $preload and $dlsym and $readdir
    and 2 of ($hide1, $hide2, $proc, $self, $net, $accept)
}

rule rootkit_names {
  meta:
    description = "names that known Linux rootkits leave in their files"
  strings:
    $a = "diamorphine" nocase
    $b = "suterusu" nocase
    $c = "adore-ng" nocase
    $d = "jynx2" nocase
    $e = "azazel_" nocase
    $f = "bedevil"
    $g = "reptile_" nocase
    $h = "libprocesshider"
    $i = "beurk" nocase
    $j = "vlany"
  condition:
    filesize < 8MB and uint32(0) == 0x464c457f and 1 of them
}

rule packed_elf_upx {
  meta:
    description = "an ELF file packed with UPX"
    verdict = "suspicious"
  strings:
    $magic = "UPX!"
    $info = "$Info: This file is packed with the UPX executable packer"
  condition:
    uint32(0) == 0x464c457f and ($magic in (0..1024) or for any i in (1..#info): (@info[i] + 16384 > filesize))
}

rule powershell_encoded {
  meta:
    description = "PowerShell that hides what it runs"
    verdict = "suspicious"
  strings:
    $encoded = /powershell(\.exe)?["']?\s[^\n]{0,120}-e(nc|ncodedcommand|c)?\s{1,4}["']?[A-Za-z0-9+\/=]{60,}/ nocase
    $frombase = /(iex|invoke-expression)\b[^\n]{0,120}frombase64string\s{0,4}\(/ nocase
    $deflate = /frombase64string[^\n]{0,200}(deflatestream|gzipstream)|(deflatestream|gzipstream)[^\n]{0,200}frombase64string/ nocase
  condition:
    filesize < 4MB and any of them
}

rule powershell_download_and_run {
  meta:
    description = "PowerShell that fetches a script and runs it"
  strings:
    $a = /(iex|invoke-expression)\s{0,4}[\(&]?\s{0,4}\(?\s{0,4}\(?new-object\s{1,4}(system\.)?net\.webclient\)?\.download(string|data)/ nocase
    $b = /new-object\s{1,4}(system\.)?net\.webclient\)?\.download(string|data)\s{0,4}\([^)]{1,200}\)\s{0,4}\|\s{0,4}(iex|invoke-expression)/ nocase
  condition:
    filesize < 4MB and any of them
}

rule script_download_and_run_hidden {
  meta:
    description = "a script that fetches a program to a place for temporary files and starts it"
    verdict = "suspicious"
  strings:
    $a = /(curl|wget)\b[^\n;|&]{0,200}(\/tmp|\/var\/tmp|\/dev\/shm)\/[^\s;&|]{1,80}[^\n]{0,20}(;|&&|\n)\s{0,8}chmod\s{1,4}(\+x|[0-7]{0,1}7[0-7]{2})\s[^\n]{0,120}(;|&&|\n)\s{0,8}(nohup\s{1,4})?(\.|\/tmp|\/var\/tmp|\/dev\/shm)\//
    $b = /base64\s{1,4}(-d|--decode|-D)[^\n|]{0,60}\|\s{0,4}(sudo\s{1,4})?(\/bin\/)?(ba|da)?sh\b/
  condition:
    filesize < 1MB and uint32(0) != 0x464c457f and any of them
}

rule ssh_backdoor {
  meta:
    description = "an SSH program that writes down passwords or lets in by a fixed one"
  strings:
    $ssh = "OpenSSH"
    $log1 = "user:password --> %s:%s"
    $log2 = "backdoor_password"
    $ebury1 = "Ebury" nocase
    $ebury2 = "Xcat\x00"
    $ilog = "/usr/share/.sshd"
    $magic = "SSH-2.0-libssh_backdoor"
  condition:
    filesize < 16MB and uint32(0) == 0x464c457f and $ssh and ($log1 or $log2 or $ilog or $magic or ($ebury1 and $ebury2))
}

rule kernel_module_hides {
  meta:
    description = "a kernel module that hides itself and hooks system calls"
  strings:
    $modinfo = "vermagic="
    $table = "sys_call_table"
    $hook1 = "hook_getdents" nocase
    $hook2 = "hacked_getdents" nocase
    $hook3 = "hooked_kill" nocase
    $hook4 = "hacked_kill" nocase
    $hide = "module_hide" nocase
    $root = "give_root" nocase
  condition:
    filesize < 8MB and uint32(0) == 0x464c457f and $modinfo and (2 of ($hook*, $hide, $root) or ($table and 1 of ($hook*, $hide, $root)))
}
