/*
 * A client with the faults that a checker of memory has to find, whatever it is told to pass over in the library:
 *
 *     broken lost          memory of its own that it loses
 *     broken short         room that it says is larger than it is, which the library fills
 *     broken used          memory that it reads after it gave it back
 */
#include "client.h"

int main(int count, char **arguments)
{
    size_t length = 0;
    REQUIRE(count == 2);
    REQUIRE(parvts_get_api(PV_API_VERSION, &api, NULL) == PV_OK);
    REQUIRE(api->info(NULL, 0, &length, NULL) == PV_TOO_SMALL);
    char *json = malloc(strcmp(arguments[1], "short") == 0 ? length - 7 : length + 1);
    CHECK(api->info(json, length + 1, &length, error));
    int first = json[0];
    if (strcmp(arguments[1], "lost") != 0)
        free(json);
    if (strcmp(arguments[1], "used") == 0)
        first = json[1];
    json = NULL;
    printf("%d\n", first);
    return 0;
}
