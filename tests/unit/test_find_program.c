/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/find_program.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* d/one/{tool,plain,python} d/two/{tool,plain,python3} d/three/{dir/,dead} */
static char root[] = "/tmp/muster-test-XXXXXX";

static void make_file(const char *name, mode_t mode)
{
    mu_autofree char *path = mu_asprintf("%s/%s", root, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    close(fd);
}

static void make_dir(const char *name)
{
    mu_autofree char *path = mu_asprintf("%s/%s", root, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    make_dir("one");
    make_dir("two");
    make_dir("three");
    make_dir("three/dir");
    make_file("one/tool", 0755);
    make_file("two/tool", 0755);
    make_file("one/plain", 0644);
    make_file("two/plain", 0755);
    make_file("three/text", 0644);
    make_file("one/python", 0755);
    make_file("two/python3", 0755);
    mu_autofree char *dead = mu_asprintf("%s/three/dead", root);
    assert_int_equal(symlink("nowhere", dead), 0);
    mu_autofree char *link = mu_asprintf("%s/three/link", root);
    return symlink("../one/tool", link);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {
        "one/tool",    "one/plain",  "one/python", "two/tool",   "two/plain",
        "two/python3", "three/text", "three/dead", "three/link", "three/dir",
        "one",         "two",        "three",      "",
    };
    for (size_t i = 0; i < MU_COUNT(names); i++) {
        mu_autofree char *path = mu_asprintf("%s/%s", root, names[i]);
        assert_int_equal(remove(path), 0);
    }
    return 0;
}

/* Look for `name` with PATH=<path>, where every @ is the test's directory. */
static char *look(const char *name, const char *path, struct mu_err *err)
{
    char text[512] = "PATH=";
    for (const char *p = path; *p != '\0'; p++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, *p == '@' ? "%s" : "%.1s", *p == '@' ? root : p);
    }
    char *envp[] = {text, NULL};
    return find_program(name, envp, err);
}

static void assert_found_as(const char *name, const char *path, const char *expected)
{
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *got = look(name, path, &err);
    if (got == NULL) {
        fail_msg("%s", err.text);
        return;
    }
    assert_string_equal(got, expected);
    assert_int_equal(err.code, MU_E_NONE);
}

static void assert_found(const char *name, const char *path, const char *where)
{
    mu_autofree char *expected = mu_asprintf("%s/%s", root, where);
    assert_found_as(name, path, expected);
}

static void assert_missing(const char *name, const char *path, int sys, const char *part)
{
    struct mu_err err = MU_ERR_INIT;
    assert_null(look(name, path, &err));
    assert_int_equal(err.code, MU_E_USAGE);
    assert_int_equal(err.sys, sys);
    if (strstr(err.text, part) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, part);
    }
    assert_null(look(name, path, NULL));
}

static void test_search(void **state)
{
    (void)state;
    assert_found("tool", "@/one:@/two", "one/tool");
    assert_found("tool", "@/two:@/one", "two/tool");
    assert_found("tool", "/nonexistent:@/three:@/two", "two/tool");
    assert_found("plain", "@/one:@/two", "two/plain"); /* steps over what cannot be executed */
    assert_found("link", "@/three", "three/link");     /* not resolved */
}

static void test_search_fails(void **state)
{
    (void)state;
    assert_missing("absent", "@/one:@/two", ENOENT, "program 'absent' is not on PATH");
    assert_missing("text", "@/one:@/three", EACCES, "program 'text' was found, but");
    assert_missing("text", "@/one:@/three", EACCES, "/three/text is not an executable file");
    assert_missing("dir", "@/three", EACCES, "/three/dir is not an executable file");
    assert_missing("dead", "@/three", ENOENT, "is not on PATH");
    assert_missing("tool", "", ENOENT, "is not on PATH");
    assert_missing("", "@/one", ENOENT, "is not on PATH");
    assert_missing("tool", "@/one/tool", ENOENT, "is not on PATH"); /* a file on PATH */
}

static void test_given_with_a_slash(void **state)
{
    (void)state;
    mu_autofree char *tool = mu_asprintf("%s/one/tool", root);
    mu_autofree char *plain = mu_asprintf("%s/one/plain", root);
    mu_autofree char *dir = mu_asprintf("%s/three/dir", root);
    assert_found(tool, "", "one/tool");
    assert_missing(plain, "@/two", EACCES, "is not an executable file");
    assert_missing(dir, "@/two", EACCES, "is not an executable file");
    assert_missing("/nonexistent/tool", "@/one", ENOENT, "does not exist");
}

static void test_relative(void **state)
{
    (void)state;
    mu_autofree char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(root), 0);
    /* As given: what a script sees of itself. */
    assert_found_as("one/tool", "", "one/tool");
    assert_found_as("./one/tool", "", "./one/tool");
    assert_found_as("tool", "one", "one/tool");
    char path[] = "PATH=one";
    char *envp[] = {path, NULL};
    mu_autofree char *python = find_interpreter(NULL, envp, NULL);
    mu_autofree char *absolute = mu_asprintf("%s/one/python", root);
    assert_string_equal(python, absolute);
    assert_int_equal(chdir("one"), 0);
    assert_found_as("tool", "/nonexistent:", "./tool"); /* an empty entry is here */
    assert_int_equal(chdir(before), 0);
}

static void test_no_path_at_all(void **state)
{
    (void)state;
    char *envp[] = {NULL};
    mu_autofree char *sh = find_program("sh", envp, NULL);
    assert_non_null(sh);
    assert_int_equal(sh[0], '/');
}

static void test_interpreter(void **state)
{
    (void)state;
    char path[256];
    char exec[256];
    snprintf(exec, sizeof(exec), "PYTHON_EXEC=%s/one/tool", root);
    char *envp[] = {path, exec, NULL};
    char *plain_envp[] = {path, NULL};
    struct mu_err err = MU_ERR_INIT;

    snprintf(path, sizeof(path), "PATH=%s/one:%s/two", root, root);
    mu_autofree char *wanted = find_interpreter("tool", envp, &err);
    assert_non_null(strstr(wanted, "/one/tool"));
    mu_autofree char *from_env = find_interpreter(NULL, envp, &err);
    assert_non_null(strstr(from_env, "/one/tool"));
    mu_autofree char *python3 = find_interpreter(NULL, plain_envp, &err);
    assert_non_null(strstr(python3, "/two/python3"));

    snprintf(path, sizeof(path), "PATH=%s/one", root);
    mu_autofree char *python = find_interpreter(NULL, plain_envp, &err);
    assert_non_null(strstr(python, "/one/python"));
    assert_int_equal(err.code, MU_E_NONE);

    snprintf(path, sizeof(path), "PATH=%s/three", root);
    assert_null(find_interpreter(NULL, plain_envp, &err));
    assert_int_equal(err.sys, ENOENT);
    assert_non_null(strstr(err.text, "Python interpreter: program 'python3' is not on PATH"));
    assert_null(find_interpreter("absent", envp, &err));
    assert_non_null(strstr(err.text, "Python interpreter: program 'absent' is not on PATH"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_search_fails),
        cmocka_unit_test(test_given_with_a_slash),
        cmocka_unit_test(test_relative),
        cmocka_unit_test(test_no_path_at_all),
        cmocka_unit_test(test_interpreter),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
