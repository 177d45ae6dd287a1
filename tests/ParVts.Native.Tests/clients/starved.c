/*
 * A host whose process may take little memory (DOTNET_GCHeapHardLimit): what is too large is refused with a status, and when the library's
 * heap is full to the last piece, every call still ends with a status; once there is room again, all works as before.
 *
 *     starved MODEL PICTURE
 */
#include "client.h"

#define PIECES 4096

static long refusals;

/* True where there was no memory; nothing but that may go wrong. */
static int lacks(pv_status status, const pv_error *error)
{
    if (status == PV_NO_MEMORY) {
        refusals++;
        return 1;
    }
    if (status != PV_OK && status != PV_TOO_SMALL) {
        fprintf(stderr, "status %d: %s\n", (int)status, error->message);
        exit(1);
    }
    return 0;
}

static void inputs_that_are_too_large(pv_engine engine)
{
    pv_error error = {.struct_size = sizeof error};
    for (size_t bytes = (size_t)1 << 20; bytes <= (size_t)1 << 26; bytes *= 4) {
        char *text = malloc(bytes + 1);
        size_t count;
        int32_t side = 64;
        pv_image image;
        memset(text, 'a', bytes);
        for (size_t i = 3; i < bytes; i += 5)
            text[i] = ' ';
        text[bytes] = 0;
        while ((size_t)(side + 64) * (size_t)(side + 64) * 3 <= bytes)
            side += 64;
        lacks(api->tokenize(engine, text, NULL, 0, &count, &error), &error);
        if (!lacks(api->image_pixels(engine, (const uint8_t *)text, side, side, NULL, &image, &error), &error))
            CHECK(api->image_close(image, error));
        free(text);
    }
    REQUIRE(refusals > 0);
}

/* Fills the heap with texts, of half the length where one does not fit any more. Returns how many there are. */
static int fill(pv_engine engine, pv_prompt *prompts)
{
    pv_error error = {.struct_size = sizeof error};
    size_t length = (size_t)4 << 20;
    int used = 0;
    char *text = malloc(length + 1);
    memset(text, 'a', length);
    text[length] = 0;
    while (used < PIECES && length > 0) {
        if (lacks(api->prompt_create(engine, NULL, &prompts[used], &error), &error)) {
            length /= 2;
        } else if (lacks(api->prompt_add_text(prompts[used], "user", text, &error), &error)) {
            CHECK(api->prompt_close(prompts[used], error));
            length /= 2;
        } else {
            used++;
        }
        text[length] = 0;
    }
    free(text);
    return used;
}

/* A whole answer; 0 where memory did not suffice for it. */
static int answers(pv_engine engine, const char *picture, char *text, size_t room)
{
    pv_error error = {.struct_size = sizeof error};
    pv_image image = 0;
    pv_prompt prompt = 0;
    pv_session session = 0;
    pv_result result = 0;
    size_t count;
    int done = !lacks(api->image_load(engine, picture, NULL, &image, &error), &error) &&
               !lacks(api->prompt_create(engine, NULL, &prompt, &error), &error) &&
               !lacks(api->prompt_add_image(prompt, "user", image, &error), &error) &&
               !lacks(api->prompt_add_text(prompt, "user", "what color is the circle?", &error), &error) &&
               !lacks(api->session_open(engine, "parvts:keep=4", &session, &error), &error) &&
               !lacks(api->generate(session, prompt, 0, NULL, NULL, &result, &error), &error) &&
               !lacks(api->result_text(result, text, room, &count, &error), &error);
    CHECK(api->result_close(result, error));
    CHECK(api->session_close(session, error));
    CHECK(api->prompt_close(prompt, error));
    CHECK(api->image_close(image, error));
    return done;
}

int main(int count, char **arguments)
{
    static pv_prompt prompts[PIECES];
    char right[256], now[256];
    REQUIRE(count == 3);
    REQUIRE(parvts_get_api(PV_API_VERSION, &api, NULL) == PV_OK);
    pv_engine engine = open_engine(arguments[1], 2);
    REQUIRE(answers(engine, arguments[2], right, sizeof right));
    inputs_that_are_too_large(engine);
    int used = fill(engine, prompts), refused = 0, done = 0;
    while (used > 0) {
        if (!answers(engine, arguments[2], now, sizeof now)) {
            refused++;
        } else {
            REQUIRE(strcmp(now, right) == 0);
            done++;
        }
        CHECK(api->prompt_close(prompts[--used], error));
    }
    REQUIRE(refused > 0);
    REQUIRE(answers(engine, arguments[2], now, sizeof now) && strcmp(now, right) == 0);
    CHECK(api->engine_close(engine, error));
    REQUIRE(open_handles() == 0);
    printf("%ld refusals; with a full heap %d attempts were refused, %d answered\n", refusals, refused, done);
    return 0;
}
