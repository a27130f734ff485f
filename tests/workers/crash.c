/* SPDX-License-Identifier: Apache-2.0 */
/* crash segv|abort|SIGNO: say "about to crash", then end by that signal, without a core file. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static const char text[] = "about to crash\n";
    const char *how = argc > 1 ? argv[1] : "segv";
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
        return 99;
    }
    if (strcmp(how, "segv") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    } else if (strcmp(how, "abort") == 0) {
        abort();
    }
    raise((int)strtol(how, NULL, 10));
    return 98;
}
