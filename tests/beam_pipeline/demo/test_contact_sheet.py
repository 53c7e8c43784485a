from PIL import Image

from beam_pipeline.demo.contact_sheet import draw_contact_sheet


def colours_of(picture: Image.Image) -> set[tuple[int, int, int]]:
    return {colour for _, colour in picture.getcolors(1 << 20)}


def test_pictures_stand_in_a_grid_and_wrong_captions_are_red(tmp_path):
    for name in ("a", "b", "c"):
        Image.new("RGB", (50, 40), (0, 0, 200)).save(tmp_path / f"{name}.png")
    pictures = [(str(tmp_path / f"{name}.png"), f"caption {name}", name != "c") for name in ("a", "b", "c")]
    draw_contact_sheet(pictures, str(tmp_path / "sheet.png"), columns=2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        width, height = sheet.size
        starts = [(x, y) for y in (0, height // 2) for x in (0, width // 2)]
        quarters = [colours_of(sheet.crop((x, y, x + width // 2, y + height // 2))) for x, y in starts]
    assert [(0, 0, 200) in colours for colours in quarters] == [True, True, True, False]
    assert [(176, 40, 30) in colours for colours in quarters] == [False, False, True, False]
