#!/bin/sh
# Print the newest Python that works here, of those on PATH and those that pyenv keeps.
best=
for candidate in $(ls $(echo "$PATH" | tr ':' ' ') 2>/dev/null | grep -xE 'python3\.[0-9]+' | sort -u) \
	"$HOME"/.pyenv/versions/3.*/bin/python3 "$@"; do
	version=$("$candidate" -c 'import sys; print(sys.version_info[1], sys.implementation.name == "cpython")' 2>/dev/null) || continue
	case $version in *True) ;; *) continue ;; esac
	minor=${version%% *}
	if [ -z "$best" ] || [ "$minor" -gt "$best_minor" ]; then best=$candidate best_minor=$minor; fi
done
echo "$best"
