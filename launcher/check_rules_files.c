/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers run: the script, its interpreter, programs that they need.
 */
#include "launcher/check_rule.h"

#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

static void check_script(const struct check_rule *r)
{
    const json_t *script = json_object_get(r->facts, "script");
    const char *path = check_rule_text(script, "path");
    const char *error = check_rule_text(script, "error");
    if (check_rule_flag(script, "is_late")) {
        check_rule_say(r, CHECK_ERROR, "script", "an answer within seconds",
                       "see whether a network file system hangs: df, dmesg",
                       "the file system of the script does not answer");
    } else if (path != NULL && error != NULL) {
        check_rule_say(r, CHECK_ERROR, "script", "the same file on every node",
                       "put it on a file system that all nodes share, or copy it there",
                       "%s cannot be read: %s", path, error);
    }
}

static void check_python(const struct check_rule *r)
{
    const json_t *python = json_object_get(r->facts, "python");
    const char *executable = check_rule_text(python, "executable");
    const char *error = check_rule_text(python, "error");
    const char *module = check_rule_text(python, "module");
    if (!check_rule_flag(r->facts, "needs_python")) {
        return;
    }
    if (check_rule_flag(python, "is_late")) {
        error = "it did not answer in time";
    }
    if (error != NULL) {
        check_rule_say(r, CHECK_ERROR, "python", "an interpreter that runs, the same on every node",
                       "activate the environment where the job is submitted, or give --python; it "
                       "must be there on every node",
                       "Python cannot be run: %s%s%s", executable != NULL ? executable : "",
                       executable != NULL ? ": " : "", error);
    } else if (module != NULL && json_is_false(json_object_get(python, "has_module"))) {
        check_rule_say(r, CHECK_ERROR, "script", "a module that Python finds",
                       "install it into the environment, or start in the directory that has it",
                       "Python finds no module %s", module);
    }
}

static void check_programs(const struct check_rule *r)
{
    const json_t *programs = json_object_get(r->facts, "programs");
    struct check_rule_names missing = {0};
    size_t i;
    const json_t *program;
    json_array_foreach (programs, i, program) {
        const char *name = check_rule_text(program, "name");
        const char *path = check_rule_text(program, "path");
        const char *error = check_rule_text(program, "error");
        if (name != NULL && path == NULL) {
            check_rule_names_add(&missing, name);
        } else if (name != NULL && error != NULL) {
            check_rule_say(r, CHECK_ERROR, "require", "a program that tells its version",
                           "run it by hand on the node", "%s does not work: %s", path, error);
        }
    }
    if (missing.count > 0) {
        mu_autofree char *text = check_rule_names_take(&missing);
        check_rule_say(r, CHECK_ERROR, "require", "on the PATH of every node (--require)",
                       "load the module that has it (module load cuda) or install it, on every "
                       "node",
                       "%s is not on the PATH", text);
    }
    if (check_rule_flag(programs, "is_late")) {
        check_rule_say(r, CHECK_ERROR, "require", "an answer within seconds",
                       "see whether a directory of PATH is on a file system that hangs",
                       "looking for the programs of --require does not end");
    }
}

void check_rules_files(const struct check_rule *r)
{
    check_script(r);
    check_python(r);
    check_programs(r);
}
