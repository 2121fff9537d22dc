#!/bin/sh
# Copy the third-party files that package.json pins into static/vendor, and check them.
#
#   tools/vendor.sh          install, copy, compare with static/vendor/MANIFEST.sha256
#   tools/vendor.sh --write  the same after a version was changed, and write a new manifest
#
# There is no npm lock file, because it would name the registry it was made from. The manifest
# is the check instead: it holds the hash of every file that is copied.
set -eu
cd "$(dirname "$0")/.."

npm install --no-package-lock --ignore-scripts --no-audit --no-fund

into=static/vendor
mkdir -p "$into/bootstrap" "$into/chartjs" "$into/htmx" "$into/inter"

# A sourceMappingURL to a file that is not there stops collectstatic.
copy() {
    sed -e 's|/\*# sourceMappingURL=[^*]*\*/||' -e 's|^//# sourceMappingURL=.*$||' "node_modules/$1" >"$into/$2"
}
copy bootstrap/dist/css/bootstrap.min.css bootstrap/bootstrap.min.css
copy bootstrap/LICENSE bootstrap/LICENSE
copy chart.js/dist/chart.umd.min.js chartjs/chart.umd.min.js
copy chart.js/LICENSE.md chartjs/LICENSE
copy htmx.org/dist/htmx.min.js htmx/htmx.min.js
copy htmx.org/LICENSE htmx/LICENSE
cp node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2 "$into/inter/"
cp node_modules/@fontsource-variable/inter/LICENSE "$into/inter/LICENSE"

cd "$into"
if [ "${1:-}" = "--write" ]; then
    find . -type f ! -name MANIFEST.sha256 | LC_ALL=C sort | sed 's|^\./||' | xargs sha256sum >MANIFEST.sha256
fi
sha256sum --check --quiet MANIFEST.sha256
echo "static/vendor agrees with its manifest."
