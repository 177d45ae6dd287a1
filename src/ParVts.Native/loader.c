/*
 * libparvts: the one function that is exported, and nothing else. Code that is compiled ahead of time fixes which vector instructions
 * it uses, so the library is built once for each kind of processor, and this picks the build for the one at hand: a build that the
 * processor cannot run would end the process when it is loaded.
 */
#define _GNU_SOURCE
#include "parvts.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef pv_status (*get_api_function)(uint32_t version, const pv_api **api, pv_error *error);

/* What is longer than the caller's room is cut off. */
static pv_status fail(pv_error *error, const char *message, const char *detail, const char *hint)
{
    if (error != NULL) {
        error->status = PV_UNSUPPORTED;
        snprintf(error->message, sizeof error->message, "%.256s%.767s", message, detail);
        snprintf(error->hint, sizeof error->hint, "%s", hint);
    }
    return PV_UNSUPPORTED;
}

/* The same instructions as the builds are made with (ParVts.Native.csproj). */
static const char *build_for_this_processor(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("popcnt"))
        return "base";
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi"))
        return "avx512";
    return "avx2";
#else
    return "base";
#endif
}

__attribute__((visibility("default"))) pv_status parvts_get_api(uint32_t version, const pv_api **api, pv_error *error)
{
    static _Atomic(get_api_function) found;
    get_api_function get = atomic_load(&found);
    if (error != NULL && error->struct_size < sizeof(pv_error))
        return PV_INVALID_ARGUMENT;
    if (get == NULL) {
        char path[PATH_MAX], own[PATH_MAX];
        Dl_info here;
        const char *build = build_for_this_processor();
        if (dladdr((const void *)(uintptr_t)&parvts_get_api, &here) == 0 || here.dli_fname == NULL)
            return fail(error, "the library cannot tell where it lies", "", "load it by its full path");
        /* It is found under names that are links (libparvts.so, the system's folder of libraries); the builds lie beside the file. */
        const char *file = realpath(here.dli_fname, own) == NULL ? here.dli_fname : own;
        const char *slash = strrchr(file, '/');
        int folder = slash == NULL ? 0 : (int)(slash - file + 1);
        if (snprintf(path, sizeof path, "%.*slibparvts-%s.so", folder, file, build) >= (int)sizeof path)
            return fail(error, "the library's path is too long", "", "install it elsewhere");

        /* The runtime inside cannot be unloaded. */
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library == NULL)
            return fail(error, "the build for this processor cannot be loaded: ", dlerror(), "install all files of the package into one folder");
        *(void **)&get = dlsym(library, "parvts_get_api");
        if (get == NULL)
            return fail(error, "not a library of parvts: ", path, "install all files of one package");
        atomic_store(&found, get);
    }
    return get(version, api, error);
}
