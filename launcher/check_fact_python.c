/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_fact.h"

#include "muster/fnv.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PACKAGES = 3000,
    MAX_LIST = 20 * 1024, /* bytes of the list of packages; of a longer one the hash is told */
    MAX_PACKAGE = 160,
    MAX_KEYS = 32,
};

/*
 * Run with the interpreter's own environment, as the workers are, but not with modules of the
 * current directory in place of Python's. Nothing of a package is imported: its metadata has the
 * version, and where a module's file is the finders know without running it.
 */
static const char program[] =
    "import sys\n"
    "here = sys.path[:1] == [''] and sys.path.pop(0) == ''\n"
    "import json\n"
    "def packages():\n"
    "    try:\n"
    "        from importlib import metadata\n"
    "    except ImportError:\n"
    "        return None\n"
    "    found = {}\n"
    "    for d in metadata.distributions():\n"
    "        try:\n"
    "            stem = getattr(getattr(d, '_path', None), 'name', '')\n"
    "            if stem.endswith('.dist-info') and stem.count('-') == 2:\n"
    "                name, version = stem[:-10].split('-')\n"
    "            else:\n"
    "                name, version = d.metadata['Name'], d.version\n"
    "            name = name.lower().replace('_', '-').replace('.', '-')\n"
    "            found.setdefault(name, str(version))\n"
    "        except Exception:\n"
    "            pass\n"
    "    return ['%s==%s' % p for p in sorted(found.items())]\n"
    "def find(name, path):\n"
    "    for finder in sys.meta_path:\n"
    "        spec = finder.find_spec(name, path) if hasattr(finder, 'find_spec') else None\n"
    "        if spec is not None:\n"
    "            return spec\n"
    "def origin(module):\n"
    "    spec, path, name = None, None, ''\n"
    "    for part in module.split('.'):\n"
    "        name = name + '.' + part if name else part\n"
    "        spec = find(name, path)\n"
    "        if spec is None:\n"
    "            return None\n"
    "        path = spec.submodule_search_locations\n"
    "    if path is not None:\n"
    "        spec = find(name + '.__main__', path)\n"
    "    return spec.origin if spec is not None else None\n"
    "told = {'version': sys.version.split()[0], 'executable': sys.executable,\n"
    "        'packages': packages()}\n"
    "if here:\n"
    "    sys.path.insert(0, '')\n"
    "if len(sys.argv) > 1:\n"
    "    told['module'] = sys.argv[1]\n"
    "    try:\n"
    "        told['origin'] = origin(sys.argv[1])\n"
    "    except Exception as e:\n"
    "        told['problem'] = str(e)\n"
    "print('\\n' + json.dumps(told))\n";

void check_fact_python_argv(const char *interpreter, const char *module, const char *argv[5])
{
    argv[0] = interpreter;
    argv[1] = "-c";
    argv[2] = program;
    argv[3] = module;
    argv[4] = NULL;
}

/* The versions that a job depends on most, which are told even if the list is too long. */
static bool is_key(const char *package)
{
    static const char *const keys[] = {
        "torch==",      "transformers==", "accelerate==", "deepspeed==",  "trl==",
        "flash-attn==", "triton==",       "numpy==",      "nvidia-nccl-",
    };
    for (size_t i = 0; i < MU_COUNT(keys); i++) {
        if (strncmp(package, keys[i], strlen(keys[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* "name==version" is told as it is; one hash stands for all. */
static void put_packages(const json_t *told, json_t *fact)
{
    if (!json_is_array(told)) {
        return;
    }
    json_t *all = json_array();
    json_t *keys = json_array();
    uint64_t hash = MU_FNV_INIT;
    size_t total = 0;
    size_t i;
    const json_t *item;
    json_array_foreach (told, i, item) {
        const char *text = json_string_value(item);
        if (text == NULL || i >= MAX_PACKAGES || strstr(text, "==") == NULL) {
            continue;
        }
        hash = mu_fnv(hash, text, strlen(text) + 1);
        if (strlen(text) > MAX_PACKAGE) {
            continue;
        }
        total += strlen(text) + strlen("\"\",");
        if (total <= MAX_LIST) {
            json_array_append_new(all, check_fact_text(text));
        }
        if (is_key(text) && json_array_size(keys) < MAX_KEYS) {
            json_array_append_new(keys, check_fact_text(text));
        }
    }
    char shown[24];
    snprintf(shown, sizeof(shown), "%016" PRIx64, hash);
    check_fact_put_text(fact, "packages_hash", shown);
    check_fact_put_flag(fact, "has_all_packages", total <= MAX_LIST);
    json_object_set_new(fact, "packages", total <= MAX_LIST ? json_incref(all) : json_incref(keys));
    json_decref(all);
    json_decref(keys);
}

json_t *check_fact_python(struct mu_slice answer, char **ret_origin)
{
    /* Whatever else is printed when Python starts (sitecustomize, .pth files) comes before. */
    struct mu_slice line = lines_last(answer, 1, answer.len);
    json_t *told = line.ptr != NULL ? json_loadb(line.ptr, line.len, 0, NULL) : NULL;
    const char *version = json_string_value(json_object_get(told, "version"));
    if (version == NULL) {
        json_decref(told);
        return NULL;
    }
    json_t *fact = json_object();
    check_fact_put_text(fact, "version", version);
    check_fact_put_text(fact, "executable", json_string_value(json_object_get(told, "executable")));
    put_packages(json_object_get(told, "packages"), fact);
    const char *origin = json_string_value(json_object_get(told, "origin"));
    *ret_origin = origin != NULL && origin[0] == '/' ? mu_strdup(origin) : NULL;
    check_fact_put_text(fact, "module", json_string_value(json_object_get(told, "module")));
    if (json_object_get(told, "module") != NULL) {
        check_fact_put_flag(fact, "has_module", origin != NULL);
    }
    json_decref(told);
    return fact;
}

char *check_fact_nvcc(struct mu_slice answer)
{
    /* "Cuda compilation tools, release 12.8, V12.8.61" */
    static const char begin[] = ", release ";
    const char *at = lines_find(answer, begin);
    if (at == NULL) {
        return NULL;
    }
    const char *text = at + strlen(begin);
    size_t left = (size_t)(answer.ptr + answer.len - text);
    size_t len = 0;
    while (len < left && strchr("0123456789.", text[len]) != NULL && text[len] != '\0') {
        len++;
    }
    return len > 0 ? mu_strndup(text, len) : NULL;
}
