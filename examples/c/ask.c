/*
 * Asks a question about a picture, token by token, and cancels from another thread where --cancel-after says so.
 *
 *     cc -std=c11 -Wall -Werror -Iinclude examples/c/ask.c -o ask -Lartifacts/native -lparvts -Wl,-rpath,"$PWD/artifacts/native" -pthread
 *     ./ask tests/data/demo-model/model tests/data/demo-model/eval/images/0000.png "what color is the circle?" parvts:keep=36
 */
#define _POSIX_C_SOURCE 200809L
#include "parvts.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const pv_api *api;
static pv_error error = {.struct_size = sizeof(pv_error)};

/* Ends the program with what the library says. */
static void check(pv_status status, const char *what)
{
    if (status == PV_OK)
        return;
    fprintf(stderr, "%s: %s (status %d)\n", what, error.message, (int)status);
    if (error.hint[0] != 0)
        fprintf(stderr, "%s\n", error.hint);
    exit(1);
}

/* Text of any length: asked for its length first. */
static char *text_of(pv_status (*call)(uint64_t, char *, size_t, size_t *, pv_error *), uint64_t handle)
{
    size_t count = 0;
    pv_status status = call(handle, NULL, 0, &count, &error);
    if (status != PV_TOO_SMALL)
        check(status, "text");
    char *text = malloc(count + 1);
    check(call(handle, text, count + 1, &count, &error), "text");
    return text;
}

struct canceller {
    pv_session session;
    atomic_int pieces; /* that have come */
    int after;         /* so many, cancel */
    atomic_int done;
};

static void *cancel_when_due(void *argument)
{
    struct canceller *canceller = argument;
    pv_error own = {.struct_size = sizeof own};
    while (!atomic_load(&canceller->done) && atomic_load(&canceller->pieces) < canceller->after)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (api->session_cancel(canceller->session, &own) != PV_OK)
        fprintf(stderr, "cancel: %s\n", own.message);
    return NULL;
}

static int32_t show(void *user, const char *text, size_t bytes)
{
    struct canceller *canceller = user;
    fwrite(text, 1, bytes, stdout);
    fflush(stdout);
    atomic_fetch_add(&canceller->pieces, 1);
    return 0;
}

int main(int count, char **arguments)
{
    if (count < 4) {
        fprintf(stderr, "usage: ask MODEL PICTURE QUESTION [POLICY [CANCEL-AFTER]]\n");
        return 2;
    }

    check(parvts_get_api(PV_API_VERSION, &api, &error), "parvts_get_api");
    pv_engine engine;
    check(api->engine_open(arguments[1], 0, &engine, &error), "engine_open");
    pv_image image;
    check(api->image_load(engine, arguments[2], NULL, &image, &error), "image_load");
    pv_prompt prompt;
    check(api->prompt_create(engine, NULL, &prompt, &error), "prompt_create");
    check(api->prompt_add_image(prompt, "user", image, &error), "prompt_add_image");
    check(api->prompt_add_text(prompt, "user", arguments[3], &error), "prompt_add_text");

    struct canceller canceller = {.after = count > 5 ? atoi(arguments[5]) : 0};
    check(api->session_open(engine, count > 4 ? arguments[4] : NULL, &canceller.session, &error), "session_open");
    pv_options options;
    check(api->options_create("generation", &options, &error), "options_create");
    check(api->options_set_int(options, "max_tokens", canceller.after > 0 ? 1000 : 16, &error), "max_tokens");
    check(api->options_set_int(options, "ignore_eos", canceller.after > 0, &error), "ignore_eos");

    pthread_t thread;
    if (canceller.after > 0)
        pthread_create(&thread, NULL, cancel_when_due, &canceller);
    pv_result result;
    pv_status status = api->generate(canceller.session, prompt, options, show, &canceller, &result, &error);
    atomic_store(&canceller.done, 1);
    if (canceller.after > 0)
        pthread_join(thread, NULL);
    check(status, "generate");
    printf("\n");

    char *json = text_of(api->result_info, result);
    printf("%s\n", json);
    free(json);
    int32_t lengths[256];
    size_t layers;
    check(api->session_kv_lengths(canceller.session, lengths, 256, &layers, &error), "session_kv_lengths");
    printf("KV rows by layer:");
    for (size_t layer = 0; layer < layers; layer++)
        printf(" %" PRId32, lengths[layer]);
    printf("\n");

    check(api->result_close(result, &error), "result_close");
    check(api->options_close(options, &error), "options_close");
    check(api->session_close(canceller.session, &error), "session_close");
    check(api->prompt_close(prompt, &error), "prompt_close");
    check(api->image_close(image, &error), "image_close");
    check(api->engine_close(engine, &error), "engine_close");
    return 0;
}
